// SPDX-License-Identifier: MIT
// Special tokens in texts: which are found, in which order, and what decoding shows of them.
#include <gtest/gtest.h>

#include "support/small_vocabulary.hpp"
#include "text/special_tokens.hpp"

namespace llmos {
namespace {

using core::no_token;
using core::TokenId;
using core::Tokenizer;
using core::TokenizerKind;
using core::TokenType;
using test::SmallVocabulary;
using Ids = std::vector<TokenId>;

constexpr core::EncodeOptions plain{.add_special = false};
constexpr core::EncodeOptions parsed{.add_special = false, .parse_special = true};

struct Bytes : SmallVocabulary {
  Bytes() : SmallVocabulary(TokenizerKind::byte_bpe) { add_bytes(); }
};

TEST(TokenizerSpecial, ControlTokensAreFoundOnlyWhenAskedFor) {
  Bytes v;
  const TokenId end = v.add("<|end|>", TokenType::control), unknown = v.add("<unk>", TokenType::unknown);
  const Tokenizer tokenizer = v.tokenizer();
  EXPECT_EQ(tokenizer.encode("a<|end|>b<unk>", parsed), (Ids{'a', end, 'b', unknown}));
  EXPECT_EQ(tokenizer.encode("a<|end|>b<unk>", plain).size(), 14u);
}

TEST(TokenizerSpecial, UserDefinedTokensAreAlwaysFound) {
  Bytes v;
  const TokenId tag = v.add("<td>", TokenType::user_defined);
  EXPECT_EQ(v.tokenizer().encode("<td><td>x", plain), (Ids{tag, tag, 'x'}));
  EXPECT_EQ(v.tokenizer().encode("<td", plain), (Ids{'<', 't', 'd'}));
}

TEST(TokenizerSpecial, LongerTokensGoFirst) {
  Bytes v;
  const TokenId ab = v.add("ab", TokenType::user_defined), bcd = v.add("bcd", TokenType::user_defined);
  EXPECT_EQ(v.tokenizer().encode("abcd", plain), (Ids{'a', bcd}));
  EXPECT_EQ(v.tokenizer().encode("abc", plain), (Ids{ab, 'c'}));
}

TEST(TokenizerSpecial, OfOneLengthTheLeftmostGoesFirst) {
  Bytes v;
  const TokenId xx = v.add("xx", TokenType::user_defined);
  EXPECT_EQ(v.tokenizer().encode("xxxxx", plain), (Ids{xx, xx, 'x'}));
}

TEST(TokenizerSpecial, AShorterTokenFillsTheRoomThatALongerOneLeft) {
  Bytes v;
  const TokenId one = v.add("ab", TokenType::user_defined), three = v.add("abab", TokenType::user_defined);
  const TokenId other = v.add("babcc", TokenType::user_defined);
  // "babcc" goes first. "abab" then no longer fits before it; "ab" does only where its b is not part of "babcc".
  EXPECT_EQ(v.tokenizer().encode("ababcc", plain), (Ids{'a', other}));
  EXPECT_EQ(v.tokenizer().encode("abababcc", plain), (Ids{one, 'a', other}));
  EXPECT_EQ(v.tokenizer().encode("ababab", plain), (Ids{three, one}));
}

TEST(TokenizerSpecial, PrefixesOfOneAnother) {
  Bytes v;
  std::vector<TokenId> runs;
  for (size_t length = 2; length <= 5; ++length)
    runs.push_back(v.add(std::string(length, '\n'), TokenType::user_defined));
  const Tokenizer tokenizer = v.tokenizer();
  for (size_t length = 2; length <= 5; ++length)
    EXPECT_EQ(tokenizer.encode(std::string(length, '\n'), plain), (Ids{runs[length - 2]}));
  EXPECT_EQ(tokenizer.encode(std::string(7, '\n'), plain), (Ids{runs[3], runs[0]}));
}

// The rule, written as the simplest program: one token after another, longest first, wherever it still fits.
std::vector<TokenId> search_one_by_one(const SmallVocabulary& v, const std::string& text) {
  Ids by_length;
  for (size_t id = 0; id < v.source.tokens.size(); ++id)
    if (v.source.types[id] == TokenType::user_defined) by_length.push_back(static_cast<TokenId>(id));
  const auto size = [&](TokenId id) { return v.source.tokens[static_cast<size_t>(id)].size(); };
  std::ranges::stable_sort(by_length, std::greater(), size);
  Ids at(text.size(), no_token), covered(text.size(), 0);
  for (size_t first = 0; first < by_length.size();) {
    size_t last = first;
    while (last < by_length.size() && size(by_length[last]) == size(by_length[first])) ++last;
    for (size_t position = 0; position < text.size(); ++position)
      for (size_t index = first; index < last; ++index) {
        const std::string_view token = v.source.tokens[static_cast<size_t>(by_length[index])];
        if (!std::string_view(text).substr(position).starts_with(token)) continue;
        const auto begin = covered.begin() + static_cast<ptrdiff_t>(position);
        const auto end = begin + static_cast<ptrdiff_t>(token.size());
        if (std::find(begin, end, 1) != end) continue;
        std::fill(begin, end, 1);
        at[position] = by_length[index];
      }
    first = last;
  }
  std::erase(at, no_token);
  return at;
}

TEST(TokenizerSpecial, AgreesWithSearchingOneTokenAfterAnother) {
  uint32_t state = 1;
  const auto random = [&](uint32_t below) { return (state = state * 1664525 + 1013904223) / 65536 % below; };
  const auto word = [&](uint32_t least, uint32_t most) {
    std::string text;
    for (uint32_t length = least + random(most - least + 1); length > 0; --length) text += "abc"[random(3)];
    return text;
  };
  for (int round = 0; round < 300; ++round) {
    Bytes v;
    for (int count = 0; count < 6; ++count) {
      const std::string text = word(2, 5);
      if (std::ranges::find(v.source.tokens, text) == v.source.tokens.end()) v.add(text, TokenType::user_defined);
    }
    const Tokenizer tokenizer = v.tokenizer();
    for (int texts = 0; texts < 20; ++texts) {
      const std::string text = word(0, 20);
      Ids found;
      for (const core::Fragment& fragment : core::split_special(tokenizer.vocabulary(), text, false))
        if (fragment.token != no_token) found.push_back(fragment.token);
      ASSERT_EQ(found, search_one_by_one(v, text)) << text;
    }
  }
}

TEST(TokenizerSpecial, DecodingShowsControlTokensOnlyWhenAskedTo) {
  Bytes v;
  const TokenId end = v.add("<|end|>", TokenType::control), unknown = v.add("<unk>", TokenType::unknown);
  const TokenId tag = v.add("<td>", TokenType::user_defined), unused = v.add("<x>", TokenType::unused);
  const Tokenizer tokenizer = v.tokenizer();
  const Ids ids{'a', end, unknown, tag, unused, 'b'};
  EXPECT_EQ(tokenizer.decode(ids), "a<td>b");
  EXPECT_EQ(tokenizer.decode(ids, {.special = true}), "a<|end|><unk><td>b");
}

TEST(TokenizerSpecial, KnownEndsAreControlTokensWhateverTheFileSays) {
  Bytes v;
  const TokenId turn = v.add("<|im_end|>"), text_end = v.add("<|endoftext|>", TokenType::user_defined);
  const TokenId html = v.add("</s>"), odd = v.add("<odd>", TokenType::control);
  v.source.special.eos = odd;
  const auto vocabulary = core::Vocabulary::build(v.source);
  EXPECT_TRUE(vocabulary.ends_generation(turn));
  EXPECT_TRUE(vocabulary.ends_generation(text_end));
  EXPECT_TRUE(vocabulary.ends_generation(odd));
  EXPECT_FALSE(vocabulary.ends_generation(html));
  EXPECT_FALSE(vocabulary.ends_generation('a'));
  EXPECT_EQ(vocabulary.type(turn), TokenType::control);
  EXPECT_EQ(vocabulary.special().eot, turn);

  v.source.types[static_cast<size_t>(html)] = TokenType::control;
  EXPECT_TRUE(core::Vocabulary::build(v.source).ends_generation(html));
}

}  // namespace
}  // namespace llmos
