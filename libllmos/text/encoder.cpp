// SPDX-License-Identifier: MIT
#include "text/encoder.hpp"

#include "text/unicode.hpp"

namespace llmos::core {

void Encoder::encode(std::string_view text, bool begins) {
  if (text.empty()) return;
  switch (vocabulary_.kind()) {
    case TokenizerKind::spm:
      return encode_spm(text, begins);
    case TokenizerKind::byte_bpe:
      return encode_byte_bpe(text);
    case TokenizerKind::char_bpe:
      return encode_char_bpe(text);
  }
}

// Leaves the text in escaped_, with U+2581 for every space and, where `prefix` is set, one more before it.
void Encoder::escape_spaces(std::string_view text, bool prefix) {
  escaped_.clear();
  if (prefix) escaped_ += escaped_space;
  for (size_t begin = 0;;) {
    const size_t space = text.find(' ', begin);
    escaped_ += text.substr(begin, space - begin);
    if (space == std::string_view::npos) return;
    escaped_ += escaped_space;
    begin = space + 1;
  }
}

// The characters of the word, as the symbols to merge.
void Encoder::add_characters(std::string_view word) {
  merger_.clear();
  for (size_t at = 0; at < word.size();) {
    const uint32_t bytes = decode_code_point(word.substr(at)).bytes;
    merger_.add(vocabulary_.find(word.substr(at, bytes)), bytes);
    at += bytes;
  }
}

// Appends the tokens of the symbols left in merger_, which were made from `word`.
void Encoder::emit(std::string_view word) {
  merger_.for_each([&](const Symbol& symbol) {
    if (symbol.token != no_token)
      out_.push_back(symbol.token);
    else
      emit_bytes(word.substr(symbol.begin, symbol.bytes));
  });
}

void Encoder::emit_bytes(std::string_view bytes) {
  for (const char byte : bytes) {
    TokenId token = vocabulary_.byte_token(static_cast<uint8_t>(byte));
    if (token == no_token) token = vocabulary_.special().unknown;
    if (token != no_token) out_.push_back(token);
  }
}

}  // namespace llmos::core
