// SPDX-License-Identifier: MIT
// Byte-pair encoding: neighbours merge by the rank of their pair, over bytes within pre-tokenized words, or over
// characters within lines.
#include "text/byte_alphabet.hpp"
#include "text/encoder.hpp"
#include "text/pre_tokenizer.hpp"

namespace llmos::core {

void Encoder::merge_by_rank() {
  merger_.run([&](const Symbol& left, const Symbol& right) -> Merged {
    if (left.token == no_token || right.token == no_token) return {0, no_token};
    const Vocabulary::Merge merge = vocabulary_.find_merge(left.token, right.token);
    return {merge.rank, merge.result};
  });
}

void Encoder::encode_byte_bpe(std::string_view text) {
  words_.clear();
  split_words(vocabulary_.pre_tokenizer(), text, words_);
  for (const std::string_view word : words_) {
    if (vocabulary_.ignore_merges() && encode_whole_word(word)) continue;
    merger_.clear();
    for (const char byte : word) merger_.add(vocabulary_.byte_token(static_cast<uint8_t>(byte)), 1);
    merge_by_rank();
    emit(word);
  }
}

bool Encoder::encode_whole_word(std::string_view word) {
  if (word.size() > vocabulary_.longest_token()) return false;
  spelled_.clear();
  for (const char byte : word) append_byte_character(static_cast<uint8_t>(byte), spelled_);
  const TokenId token = vocabulary_.find(spelled_);
  if (token == no_token) return false;
  out_.push_back(token);
  return true;
}

// [^\n]+|[\n]+
void Encoder::encode_char_bpe(std::string_view text) {
  escape_spaces(text, false);
  const std::string_view escaped = escaped_;
  for (size_t begin = 0; begin < escaped.size();) {
    const bool newlines = escaped[begin] == '\n';
    const size_t end =
        std::min(newlines ? escaped.find_first_not_of('\n', begin) : escaped.find('\n', begin), escaped.size());
    const std::string_view line = escaped.substr(begin, end - begin);
    begin = end;
    const TokenId whole = newlines ? vocabulary_.find(line) : no_token;
    if (whole != no_token)
      out_.push_back(whole);
    else
      cut_before_spaces(line, [&](std::string_view word) { encode_char_bpe_word(word); });
  }
}

void Encoder::encode_char_bpe_word(std::string_view word) {
  add_characters(word);
  merge_by_rank();
  emit(word);
}

}  // namespace llmos::core
