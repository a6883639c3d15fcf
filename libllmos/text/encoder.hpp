// SPDX-License-Identifier: MIT
// The tokens of plain text, in which special tokens have no meaning. An Encoder serves one call of Tokenizer::encode
// and keeps its buffers from fragment to fragment.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/merger.hpp"
#include "text/vocabulary.hpp"

namespace llmos::core {

class Encoder {
 public:
  Encoder(const Vocabulary& vocabulary, std::vector<TokenId>& out) : vocabulary_(vocabulary), out_(out) {}

  // `begins` is set where a text begins: at its start, and after a special token.
  void encode(std::string_view text, bool begins);

 private:
  void encode_spm(std::string_view text, bool begins);
  void encode_spm_word(std::string_view word);
  void encode_byte_bpe(std::string_view text);
  bool encode_whole_word(std::string_view word);
  void encode_char_bpe(std::string_view text);
  void encode_char_bpe_word(std::string_view word);

  void escape_spaces(std::string_view text, bool prefix);
  void add_characters(std::string_view word);
  void merge_by_rank();
  void emit(std::string_view word);
  void emit_bytes(std::string_view bytes);

  // Calls use(word) for the pieces between which no token can reach.
  template <typename Use>
  void cut_before_spaces(std::string_view text, Use use) const;

  const Vocabulary& vocabulary_;
  std::vector<TokenId>& out_;
  Merger merger_;
  std::string escaped_;
  std::string spelled_;
  std::vector<std::string_view> words_;
};

template <typename Use>
void Encoder::cut_before_spaces(std::string_view text, Use use) const {
  size_t begin = 0;
  for (size_t space = text.find(escaped_space, 1); space != std::string_view::npos;
       space = text.find(escaped_space, space + 1)) {
    const std::string_view before = text.substr(0, space);
    if (before.ends_with(escaped_space) || vocabulary_.bytes_before_spaces().contains(before.back())) continue;
    use(text.substr(begin, space - begin));
    begin = space;
  }
  use(text.substr(begin));
}

}  // namespace llmos::core
