// SPDX-License-Identifier: MIT
// Decoding while generating: only whole characters come out.
#include <gtest/gtest.h>

#include "support/small_vocabulary.hpp"

namespace llmos {
namespace {

using core::Detokenizer;
using core::TokenizerKind;
using core::TokenType;
using test::SmallVocabulary;

TEST(TokenizerStream, BytesWaitForTheRestOfTheirCharacter) {
  SmallVocabulary v(TokenizerKind::byte_bpe);
  v.add_bytes();
  const auto tokenizer = v.tokenizer();
  Detokenizer stream(tokenizer);
  EXPECT_EQ(stream.push('a'), "a");
  EXPECT_EQ(stream.push(0xf0), "");
  EXPECT_EQ(stream.push(0x9f), "");
  EXPECT_EQ(stream.push(0x98), "");
  EXPECT_EQ(stream.push(0x80), "\xf0\x9f\x98\x80");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TokenizerStream, BytesThatCannotBecomeACharacterPass) {
  SmallVocabulary v(TokenizerKind::byte_bpe);
  v.add_bytes();
  const auto tokenizer = v.tokenizer();
  Detokenizer stream(tokenizer);
  EXPECT_EQ(stream.push(0xff), "\xff");
  EXPECT_EQ(stream.push(0xe2), "");
  EXPECT_EQ(stream.push('a'),
            "\xe2"
            "a");
  EXPECT_EQ(stream.push(0xe2), "");
  EXPECT_EQ(stream.push(0x82), "");
  EXPECT_EQ(stream.finish(), "\xe2\x82");
  EXPECT_EQ(stream.finish(), "");
}

TEST(TokenizerStream, TheSpacePrefixIsStrippedOnce) {
  SmallVocabulary v(TokenizerKind::spm);
  const auto spaced = v.add(
                 "\xe2\x96\x81"
                 "a"),
             control = v.add("<s>", TokenType::control);
  v.source.special.add_space_prefix = true;
  const auto tokenizer = v.tokenizer();
  Detokenizer stream(tokenizer, {.strip_space_prefix = true});
  EXPECT_EQ(stream.push(control), "");
  EXPECT_EQ(stream.push(spaced), "a");
  EXPECT_EQ(stream.push(spaced), " a");
  Detokenizer whole(tokenizer);
  EXPECT_EQ(whole.push(spaced), " a");
}

TEST(TokenizerStream, TogetherItIsWhatDecodingAtOnceGives) {
  SmallVocabulary v(TokenizerKind::byte_bpe);
  v.add_bytes();
  const auto tokenizer = v.tokenizer();
  uint32_t state = 7;
  std::vector<core::TokenId> ids;
  for (int index = 0; index < 5000; ++index) ids.push_back((state = state * 1664525 + 1013904223) >> 24);
  Detokenizer stream(tokenizer);
  std::string text;
  for (const core::TokenId id : ids) text += stream.push(id);
  EXPECT_EQ(text + stream.finish(), tokenizer.decode(ids));
}

}  // namespace
}  // namespace llmos
