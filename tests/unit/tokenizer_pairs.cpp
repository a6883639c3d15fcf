// SPDX-License-Identifier: MIT
// The texts and token ids that come with the vocabularies of the test data, each of them exactly.
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "format/gguf_vocabulary.hpp"
#include "support/test_data.hpp"

namespace llmos {
namespace {

using core::TokenId;
using core::Tokenizer;

std::vector<std::string> split(const std::string& text, const std::string& separator) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t end; (end = text.find(separator, begin)) != std::string::npos; begin = end + separator.size())
    parts.push_back(text.substr(begin, end - begin));
  parts.push_back(text.substr(begin));
  return parts;
}

std::vector<TokenId> parse_ids(const std::string& line) {
  std::istringstream in(line);
  std::vector<TokenId> ids;
  for (TokenId id; in >> id;) ids.push_back(id);
  return ids;
}

class TokenizerPairs : public testing::TestWithParam<const char*> {};

TEST_P(TokenizerPairs, EveryTextGivesItsIdsAndEveryIdItsText) {
  const std::string name = std::string("vocab/ggml-vocab-") + GetParam() + ".gguf";
  LLMOS_NEED_DATA(name);
  const auto file = test::read_bytes(test::data_path(name));
  const Tokenizer tokenizer = core::make_tokenizer(core::Gguf(file));
  auto texts = split(test::read_text(test::data_path(name + ".inp")), "\n__ggml_vocab_test__\n");
  auto lines = split(test::read_text(test::data_path(name + ".out")), "\n");
  for (auto* parts : {&texts, &lines})
    if (parts->back().empty()) parts->pop_back();  // the file ends with a separator
  ASSERT_EQ(texts.size(), lines.size());
  ASSERT_GT(texts.size(), 40u);
  for (size_t index = 0; index < texts.size(); ++index) {
    const auto ids = tokenizer.encode(texts[index], {.add_special = false});
    EXPECT_EQ(ids, parse_ids(lines[index])) << "text " << index << ": " << texts[index];
    EXPECT_EQ(tokenizer.decode(ids, {.strip_space_prefix = true}), texts[index]);
  }
}

INSTANTIATE_TEST_SUITE_P(Vocabulary, TokenizerPairs,
                         testing::Values("deepseek-llm", "gemma-4", "gpt-2", "llama-bpe", "llama-spm", "qwen2"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace llmos
