// SPDX-License-Identifier: MIT
// SentencePiece vocabularies: merging by score, byte fallback, spaces.
#include <gtest/gtest.h>

#include <cerrno>

#include "support/failure.hpp"
#include "support/small_vocabulary.hpp"

namespace llmos {
namespace {

using core::TokenId;
using core::TokenizerKind;
using core::TokenType;
using test::SmallVocabulary;
using Ids = std::vector<TokenId>;

constexpr core::EncodeOptions plain{.add_special = false};

TEST(TokenizerSpm, TheBestScoreMergesFirst) {
  SmallVocabulary v(TokenizerKind::spm);
  const TokenId a = v.add("a"), b = v.add("b"), c = v.add("c");
  const TokenId ab = v.add("ab", TokenType::normal, -2), bc = v.add("bc", TokenType::normal, -1);
  EXPECT_EQ(v.tokenizer().encode("abc", plain), (Ids{a, bc}));
  EXPECT_EQ(v.tokenizer().encode("abab", plain), (Ids{ab, ab}));
  EXPECT_EQ(v.tokenizer().encode("cba", plain), (Ids{c, b, a}));
}

TEST(TokenizerSpm, OfEqualScoresTheLeftmostMergesFirst) {
  SmallVocabulary v(TokenizerKind::spm);
  const TokenId a = v.add("a"), aa = v.add("aa", TokenType::normal, -1);
  EXPECT_EQ(v.tokenizer().encode("aaa", plain), (Ids{aa, a}));
  EXPECT_EQ(v.tokenizer().encode("aaaa", plain), (Ids{aa, aa}));
}

TEST(TokenizerSpm, NegativeAndPositiveZeroAreOneScore) {
  SmallVocabulary v(TokenizerKind::spm);
  v.add("a"), v.add("b"), v.add("c");
  const TokenId ab = v.add("ab", TokenType::normal, -0.0f);
  v.add("bc", TokenType::normal, 0.0f);
  EXPECT_EQ(v.tokenizer().encode("abc", plain), (Ids{ab, 2}));
}

TEST(TokenizerSpm, PartsThatAreNoTokensStillMerge) {
  SmallVocabulary v(TokenizerKind::spm);
  const TokenId xy = v.add("xy");
  EXPECT_EQ(v.tokenizer().encode("xyxy", plain), (Ids{xy, xy}));
}

TEST(TokenizerSpm, UnknownCharactersBecomeBytesOrUnknown) {
  SmallVocabulary v(TokenizerKind::spm);
  const TokenId first = v.add_bytes();
  EXPECT_EQ(v.tokenizer().encode("\xc3\xa9", plain), (Ids{first + 0xc3, first + 0xa9}));

  SmallVocabulary none(TokenizerKind::spm);
  none.add("a");
  EXPECT_EQ(none.tokenizer().encode("xa", plain), (Ids{0}));
  none.source.special.unknown = none.add("<unk>", TokenType::unknown);
  EXPECT_EQ(none.tokenizer().encode("xa", plain), (Ids{1, 0}));
}

TEST(TokenizerSpm, SpacesAreWrittenAsU2581) {
  SmallVocabulary v(TokenizerKind::spm);
  const TokenId a = v.add("a"), space = v.add("\xe2\x96\x81"),
                spaced = v.add(
                    "\xe2\x96\x81"
                    "a");
  const auto tokenizer = v.tokenizer();
  EXPECT_EQ(tokenizer.encode("a a  a", plain), (Ids{a, spaced, space, spaced}));
  EXPECT_EQ(tokenizer.decode(Ids{a, spaced, space, spaced}), "a a  a");
}

TEST(TokenizerSpm, ASpaceInsideOfATokenIsFound) {
  // The text must not be cut between "b" and the space, though it may be cut after "a".
  SmallVocabulary v(TokenizerKind::spm);
  const TokenId a = v.add("a");
  v.add("b");
  v.add("\xe2\x96\x81");
  v.add("b\xe2\x96\x81");
  const TokenId inner = v.add(
      "b\xe2\x96\x81"
      "a");
  EXPECT_EQ(v.tokenizer().encode("ab a", plain), (Ids{a, inner}));
  EXPECT_EQ(v.tokenizer().encode("a a", plain), (Ids{a, 2, a}));
}

TEST(TokenizerSpm, SpacePrefixIsAddedWhereATextBegins) {
  SmallVocabulary v(TokenizerKind::spm);
  const TokenId a = v.add("a"),
                spaced = v.add(
                    "\xe2\x96\x81"
                    "a"),
                end = v.add("<e>", TokenType::control);
  v.add("\xe2\x96\x81");
  EXPECT_EQ(v.tokenizer().encode("a", plain), (Ids{a}));
  v.source.special.add_space_prefix = true;
  const auto tokenizer = v.tokenizer();
  EXPECT_EQ(tokenizer.encode("a", plain), (Ids{spaced}));
  EXPECT_EQ(tokenizer.encode("aa<e>aa", {.add_special = false, .parse_special = true}),
            (Ids{spaced, a, end, spaced, a}));
  EXPECT_EQ(tokenizer.encode("", plain), Ids{});
  EXPECT_EQ(tokenizer.decode(Ids{spaced, a}), " aa");
  EXPECT_EQ(tokenizer.decode(Ids{spaced, a}, {.strip_space_prefix = true}), "aa");
  EXPECT_EQ(tokenizer.decode(Ids{a, spaced}, {.strip_space_prefix = true}), "a a");
}

TEST(TokenizerSpm, BosAndEosAreAddedAsTheModelSays) {
  SmallVocabulary v(TokenizerKind::spm);
  const TokenId a = v.add("a"), bos = v.add("<s>", TokenType::control), eos = v.add("</s>", TokenType::control);
  v.source.special.bos = bos;
  v.source.special.eos = eos;
  EXPECT_EQ(v.tokenizer().encode("a"), (Ids{a}));
  v.source.special.add_bos = true;
  EXPECT_EQ(v.tokenizer().encode("a"), (Ids{bos, a}));
  EXPECT_EQ(v.tokenizer().encode(""), (Ids{bos}));
  EXPECT_EQ(v.tokenizer().encode("a", plain), (Ids{a}));
  v.source.special.add_eos = true;
  EXPECT_EQ(v.tokenizer().encode("a"), (Ids{bos, a, eos}));
}

TEST(TokenizerSpm, BytesThatAreNoUtf8ComeBack) {
  SmallVocabulary v(TokenizerKind::spm);
  v.add_bytes();
  const auto tokenizer = v.tokenizer();
  const std::string text = "\xff\xc3(\xe2\x82\xed\xa0\x80\xf0\x9f\x98";
  const auto ids = tokenizer.encode(text, plain);
  EXPECT_EQ(ids.size(), text.size());
  EXPECT_EQ(tokenizer.decode(ids), text);
}

}  // namespace
}  // namespace llmos
