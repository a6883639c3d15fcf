// SPDX-License-Identifier: MIT
// One small tokenizer of every kind and pre-tokenizer, with merges, special tokens and tokens of spaces to get lost in.
#pragma once

#include "support/small_vocabulary.hpp"

namespace llmos::test {

inline void add_special(SmallVocabulary& v) {
  v.source.special.bos = v.add("<s>", core::TokenType::control);
  v.source.special.eos = v.add("</s>", core::TokenType::control);
  v.source.special.unknown = v.add("<unk>", core::TokenType::unknown);
  v.source.special.add_bos = v.source.special.add_eos = true;
  for (const char* text : {"<s><s>", "\n\n\n", "\n\n\n\n", "  ", "a<", "<t>"})
    v.add(text, core::TokenType::user_defined);
}

inline SmallVocabulary byte_vocabulary(core::PreTokenizer how, bool ignore_merges) {
  SmallVocabulary v(core::TokenizerKind::byte_bpe);
  v.source.pre_tokenizer = how;
  v.source.ignore_merges = ignore_merges;
  v.add_bytes();
  const std::string space = "\xc4\xa0";
  for (const auto& [left, right] : {std::pair<std::string, std::string>{"a", "a"},
                                    {"aa", "aa"},
                                    {"t", "h"},
                                    {"th", "e"},
                                    {space, space},
                                    {space, "t"},
                                    {space, "the"},
                                    {"\xc3\x83", "\xc2\xa9"}})
    v.add_merge(left, right);
  add_special(v);
  return v;
}

inline SmallVocabulary character_vocabulary(core::TokenizerKind kind) {
  SmallVocabulary v(kind);
  v.add_bytes();
  const std::string space(core::escaped_space);
  for (const std::string& text : {std::string("a"), std::string("b"), std::string("\n"), std::string("t"),
                                  std::string("h"), std::string("e"), std::string("\xc3\xa9"), space})
    v.add(text, core::TokenType::normal, -20);
  for (const auto& [left, right] : {std::pair<std::string, std::string>{"a", "b"},
                                    {space, space},
                                    {"t", "h"},
                                    {"th", "e"},
                                    {space, "the"},
                                    {"b", space},
                                    {"b" + space, "a"},
                                    {"\n", "\n"}})
    v.source.scores[static_cast<size_t>(v.add_merge(left, right))] = -static_cast<float>(v.source.tokens.size() % 7);
  add_special(v);
  v.source.special.add_space_prefix = kind == core::TokenizerKind::spm;
  return v;
}

inline std::vector<core::Tokenizer> small_tokenizers() {
  std::vector<core::Tokenizer> tokenizers;
  for (uint32_t how = 1; how < core::pre_tokenizer_count; ++how)
    tokenizers.push_back(byte_vocabulary(static_cast<core::PreTokenizer>(how), how % 2 == 1).tokenizer());
  tokenizers.push_back(character_vocabulary(core::TokenizerKind::spm).tokenizer());
  tokenizers.push_back(character_vocabulary(core::TokenizerKind::char_bpe).tokenizer());
  return tokenizers;
}

}  // namespace llmos::test
