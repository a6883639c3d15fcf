// SPDX-License-Identifier: MIT
// Small vocabularies made by hand, to see each rule of a tokenizer alone.
#pragma once

#include <fmt/format.h>

#include <deque>
#include <string>
#include <string_view>
#include <utility>

#include "text/byte_alphabet.hpp"
#include "text/tokenizer.hpp"

namespace llmos::test {

// Collects tokens and merges; the strings live as long as this does.
class SmallVocabulary {
 public:
  explicit SmallVocabulary(core::TokenizerKind kind) {
    source.kind = kind;
    if (kind == core::TokenizerKind::byte_bpe) source.pre_tokenizer = core::PreTokenizer::gpt2;
  }

  core::TokenId add(std::string text, core::TokenType type = core::TokenType::normal, float score = 0) {
    source.tokens.push_back(keep(std::move(text)));
    source.types.push_back(type);
    source.scores.push_back(score);
    return static_cast<core::TokenId>(source.tokens.size() - 1);
  }

  // A token for every byte, as the kind of the vocabulary writes them. Byte b gets id first + b.
  core::TokenId add_bytes() {
    const auto first = static_cast<core::TokenId>(source.tokens.size());
    for (int byte = 0; byte < 256; ++byte) {
      std::string name;
      if (source.kind == core::TokenizerKind::byte_bpe) {
        core::append_byte_character(static_cast<uint8_t>(byte), name);
        add(name);
      } else {
        add(fmt::format("<0x{:02X}>", byte), core::TokenType::byte);
      }
    }
    return first;
  }

  // Two tokens merge into a third, which is added where it is new. Earlier merges go first.
  core::TokenId add_merge(const std::string& left, const std::string& right) {
    source.merges.push_back(keep(left + " " + right));
    for (size_t id = 0; id < source.tokens.size(); ++id)
      if (source.tokens[id] == left + right) return static_cast<core::TokenId>(id);
    return add(left + right);
  }

  core::Tokenizer tokenizer() const { return core::Tokenizer(core::Vocabulary::build(source)); }

  core::VocabularySource source;

 private:
  std::string_view keep(std::string text) { return strings_.emplace_back(std::move(text)); }
  std::deque<std::string> strings_;
};

}  // namespace llmos::test
