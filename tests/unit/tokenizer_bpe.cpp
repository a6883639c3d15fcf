// SPDX-License-Identifier: MIT
// Byte-level BPE and character BPE: merging by rank within words and lines.
#include <gtest/gtest.h>

#include "support/small_vocabulary.hpp"

namespace llmos {
namespace {

using core::PreTokenizer;
using core::TokenId;
using core::TokenizerKind;
using core::TokenType;
using test::SmallVocabulary;
using Ids = std::vector<TokenId>;

constexpr core::EncodeOptions plain{.add_special = false};
const std::string space = "\xc4\xa0";  // U+0120, the space of byte-level vocabularies

TEST(TokenizerBpe, TheLowestRankMergesFirst) {
  SmallVocabulary v(TokenizerKind::byte_bpe);
  v.add_bytes();
  const TokenId bc = v.add_merge("b", "c");
  const TokenId ab = v.add_merge("a", "b");
  const TokenId abc = v.add_merge("ab", "c");
  const auto tokenizer = v.tokenizer();
  EXPECT_EQ(tokenizer.encode("abc", plain), (Ids{'a', bc}));  // a+bc is no merge, though "abc" is a token
  EXPECT_EQ(tokenizer.encode("ab", plain), (Ids{ab}));
  EXPECT_NE(tokenizer.encode("abc", plain), (Ids{abc}));
}

TEST(TokenizerBpe, OfOneRankTheLeftmostMergesFirst) {
  SmallVocabulary v(TokenizerKind::byte_bpe);
  v.add_bytes();
  const TokenId aa = v.add_merge("a", "a");
  EXPECT_EQ(v.tokenizer().encode("aaa", plain), (Ids{aa, 'a'}));
}

TEST(TokenizerBpe, WordsDoNotMergeWithOneAnother) {
  SmallVocabulary v(TokenizerKind::byte_bpe);
  v.add_bytes();
  const TokenId spaced = v.add_merge(space, "a");
  v.add_merge("a", space);
  EXPECT_EQ(v.tokenizer().encode("a a", plain), (Ids{'a', spaced}));
}

TEST(TokenizerBpe, AWholeWordNeedsNoMergesWhereTheModelSaysSo) {
  SmallVocabulary v(TokenizerKind::byte_bpe);
  v.add_bytes();
  const TokenId word = v.add(space + "whole");
  EXPECT_EQ(v.tokenizer().encode(" whole", plain).size(), 6u);
  v.source.ignore_merges = true;
  EXPECT_EQ(v.tokenizer().encode(" whole", plain), (Ids{word}));
  EXPECT_EQ(v.tokenizer().encode(" wholes", plain).size(), 7u);
}

TEST(TokenizerBpe, BytesWithoutATokenBecomeUnknown) {
  SmallVocabulary v(TokenizerKind::byte_bpe);
  const TokenId a = v.add("a");
  EXPECT_EQ(v.tokenizer().encode("ab", plain), (Ids{a}));
  v.source.special.unknown = v.add("<unk>", TokenType::unknown);
  EXPECT_EQ(v.tokenizer().encode("ab", plain), (Ids{a, 1}));
}

TEST(TokenizerBpe, MergesOfThingsThatAreNoTokensAreIgnored) {
  SmallVocabulary v(TokenizerKind::byte_bpe);
  v.add_bytes();
  v.source.merges = {"a b", "x", "", "q zz"};
  EXPECT_EQ(v.tokenizer().encode("ab", plain), (Ids{'a', 'b'}));
}

TEST(TokenizerBpe, TheFirstOfTwoEqualMergesCounts) {
  SmallVocabulary v(TokenizerKind::byte_bpe);
  v.add_bytes();
  const TokenId ab = v.add_merge("a", "b");
  v.add_merge("b", "c");
  v.add_merge("a", "b");
  EXPECT_EQ(v.tokenizer().encode("abc", plain), (Ids{ab, 'c'}));
}

TEST(TokenizerBpe, EveryByteComesBack) {
  SmallVocabulary v(TokenizerKind::byte_bpe);
  v.add_bytes();
  std::string text;
  for (int byte = 0; byte < 256; ++byte) text += static_cast<char>(byte);
  const auto tokenizer = v.tokenizer();
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(text, plain)), text);
}

TEST(TokenizerBpe, CharactersMergeAcrossWordsButNotAcrossLines) {
  SmallVocabulary v(TokenizerKind::char_bpe);
  const std::string u2581 = "\xe2\x96\x81";
  v.add_bytes();
  const TokenId a = v.add("a"), newline = v.add("\n");
  v.add(u2581);
  const TokenId joined = v.add_merge("a", u2581);
  const TokenId across = v.add_merge("a", "\n");
  const auto tokenizer = v.tokenizer();
  EXPECT_EQ(tokenizer.encode("a a", plain), (Ids{joined, a}));
  EXPECT_EQ(tokenizer.encode("a\na", plain), (Ids{a, newline, a}));
  EXPECT_NE(tokenizer.encode("a\n", plain), (Ids{across}));
  EXPECT_EQ(tokenizer.encode("\xc3\xa9", plain), (Ids{0xc3, 0xa9}));
  EXPECT_EQ(tokenizer.decode(tokenizer.encode(" a\xc3\xa9 \n\n", plain)), " a\xc3\xa9 \n\n");
}

TEST(TokenizerBpe, ARunOfNewlinesThatIsATokenNeedsNoMerges) {
  SmallVocabulary v(TokenizerKind::char_bpe);
  const TokenId one = v.add("\n"), three = v.add("\n\n\n");
  EXPECT_EQ(v.tokenizer().encode("\n\n\n", plain), (Ids{three}));
  EXPECT_EQ(v.tokenizer().encode("\n\n", plain), (Ids{one, one}));
}

}  // namespace
}  // namespace llmos
