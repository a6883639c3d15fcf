// SPDX-License-Identifier: MIT
// Random texts through real vocabularies: decoding gives back what was encoded.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "format/gguf_vocabulary.hpp"
#include "support/test_data.hpp"
#include "support/utf8.hpp"

namespace llmos {
namespace {

using core::Tokenizer;
using core::TokenizerKind;

class RoundTrip : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string name = std::string("vocab/ggml-vocab-") + GetParam() + ".gguf";
    LLMOS_NEED_DATA(name);
    file_ = test::read_bytes(test::data_path(name));
    tokenizer_.emplace(core::make_tokenizer(core::Gguf(file_)));
  }

  // Some vocabularies have no token for bytes that no UTF-8 has.
  bool has_token(uint8_t byte) const { return tokenizer_->vocabulary().byte_token(byte) != core::no_token; }

  uint32_t random(uint32_t below) { return static_cast<uint32_t>(random_()) % below; }

  uint32_t code_point() {
    switch (random(6)) {
      case 0:
        return random(0x80);
      case 1:
        return 0x80 + random(0x780);
      case 2:
        return 0x800 + random(0xd000);
      case 3:
        return 0x10000 + random(0x100000);
      case 4:
        return "  \n\t\r'"[random(6)];
      default:
        return "aeiosTHE"[random(8)];
    }
  }

  void expect_round_trip(const std::string& text) {
    for (const bool add_special : {false, true}) {
      const auto ids = tokenizer_->encode(text, {.add_special = add_special});
      const bool same = tokenizer_->decode(ids, {.strip_space_prefix = true}) == text;
      ASSERT_TRUE(same) << testing::PrintToString(text.substr(0, 200));
    }
  }

  std::vector<std::byte> file_;
  std::optional<Tokenizer> tokenizer_;
  std::mt19937 random_{42};
};

TEST_P(RoundTrip, RandomUtf8) {
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (uint32_t length = random(40); length > 0; --length) {
      const uint32_t value = code_point();
      // A vocabulary that writes spaces as U+2581 cannot tell the two apart.
      if (value == 0x2581 && tokenizer_->vocabulary().kind() != TokenizerKind::byte_bpe) continue;
      text += test::utf8(value);
    }
    expect_round_trip(text);
  }
}

TEST_P(RoundTrip, RandomBytes) {
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (uint32_t length = random(60); length > 0; --length) {
      const auto byte = static_cast<uint8_t>(random(256));
      if (has_token(byte)) text += static_cast<char>(byte);
    }
    if (text.find(core::escaped_space) != std::string::npos) continue;
    expect_round_trip(text);
  }
}

TEST_P(RoundTrip, LongRunsTakeLinearTime) {
  for (const std::string_view unit : {"a", " ", "\n", "<", "\xff", "\xe5\xad\x97", "ab "}) {
    if (!has_token(static_cast<uint8_t>(unit[0])) && unit.size() == 1) continue;
    std::string text;
    while (text.size() < 100000) text += unit;
    expect_round_trip(text);
  }
}

INSTANTIATE_TEST_SUITE_P(Vocabulary, RoundTrip,
                         testing::Values("deepseek-llm", "gemma-4", "gpt-2", "llama-bpe", "llama-spm", "qwen2"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace llmos
