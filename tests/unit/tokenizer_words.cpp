// SPDX-License-Identifier: MIT
// How each pre-tokenizer cuts text into words. The expectations were made with the expressions that the models publish.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "text/pre_tokenizer.hpp"

namespace llmos {
namespace {

using core::PreTokenizer;
using Words = std::vector<std::string_view>;

Words split(PreTokenizer how, std::string_view text) {
  Words words;
  core::split_words(how, text, words);
  return words;
}

TEST(TokenizerWords, Gpt2) {
  constexpr auto how = PreTokenizer::gpt2;
  EXPECT_EQ(split(how, "I'll say  it's 12345 times!!"),
            (Words{"I", "'ll", " say", " ", " it", "'s", " 12345", " times", "!!"}));
  EXPECT_EQ(split(how, "I'LL"), (Words{"I", "'", "LL"}));
  EXPECT_EQ(split(how, "a \n\n b  "), (Words{"a", " \n\n", " b", "  "}));
  EXPECT_EQ(split(how,
                  "caf\xc3\xa9\xc2\xa0"
                  "x"),
            (Words{"caf\xc3\xa9", "\xc2\xa0", "x"}));
  EXPECT_EQ(split(how, "e\xcc\x81"), (Words{"e", "\xcc\x81"}));  // a combining mark is no letter
}

TEST(TokenizerWords, Llama3) {
  constexpr auto how = PreTokenizer::llama3;
  EXPECT_EQ(split(how, "I'LL (say) 12345\n\n  x"),
            (Words{"I", "'LL", " (", "say", ")", " ", "123", "45", "\n\n", " ", " x"}));
  EXPECT_EQ(split(how, "$a\tb"), (Words{"$a", "\tb"}));
  EXPECT_EQ(split(how, "!!\n\n\r!"), (Words{"!!\n\n\r", "!"}));
  EXPECT_EQ(split(how, " \n \n  x"), (Words{" \n \n", " ", " x"}));
  EXPECT_EQ(split(how, "   "), (Words{"   "}));
  EXPECT_EQ(split(how, "\n\nx"), (Words{"\n\n", "x"}));
}

TEST(TokenizerWords, Qwen2CutsDigitsOneByOne) {
  EXPECT_EQ(split(PreTokenizer::qwen2, "x 12'M"), (Words{"x", " ", "1", "2", "'M"}));
}

TEST(TokenizerWords, Starcoder) {
  EXPECT_EQ(split(PreTokenizer::starcoder, "ab 12 'll"), (Words{"ab", " ", "1", "2", " '", "ll"}));
}

TEST(TokenizerWords, DeepseekLlm) {
  constexpr auto how = PreTokenizer::deepseek_llm;
  EXPECT_EQ(split(how, "ab\r\n cd, 123 \xe4\xbd\xa0\xe5\xa5\xbd  "),
            (Words{"ab", "\r", "\n", " cd", ",", " ", "123", " ", "\xe4\xbd\xa0\xe5\xa5\xbd", "  "}));
  EXPECT_EQ(split(how, " \xd7\x90"), (Words{" \xd7\x90"}));  // Hebrew has no case and is no word of its own
  EXPECT_EQ(split(how, "ab   x"), (Words{"ab", "  ", " x"}));
}

TEST(TokenizerWords, DeepseekCoder) {
  EXPECT_EQ(split(PreTokenizer::deepseek_coder, "\xd7\x90 b(c)12"), (Words{"\xd7\x90", " b", "(", "c", ")", "1", "2"}));
}

TEST(TokenizerWords, DeepseekV3) {
  constexpr auto how = PreTokenizer::deepseek_v3;
  EXPECT_EQ(split(how, "_name.get(1234)"), (Words{"_name", ".get", "(", "123", "4", ")"}));
  EXPECT_EQ(split(how, "e\xcc\x81t\xc3\xa9 \xe3\x81\x8b\xe5\xad\x97"),
            (Words{"e\xcc\x81t\xc3\xa9", " ", "\xe3\x81\x8b\xe5\xad\x97"}));
}

TEST(TokenizerWords, TekkenCutsWhereCaseRises) {
  constexpr auto how = PreTokenizer::tekken;
  EXPECT_EQ(split(how, "aBc ABCdef HTTPServer"), (Words{"a", "Bc", " ABCdef", " HTTPServer"}));
  EXPECT_EQ(split(how, "fooBar's 12"), (Words{"foo", "Bar", "'s", " ", "1", "2"}));
  EXPECT_EQ(split(how, "x //\n\nABC!"), (Words{"x", " //\n\n", "ABC", "!"}));
  EXPECT_EQ(split(how,
                  "\xe5\xad\x97"
                  "A!"),
            (Words{"\xe5\xad\x97", "A", "!"}));  // a letter without case, given back
}

TEST(TokenizerWords, Gpt4oKeepsContractionsOnTheWord) {
  EXPECT_EQ(split(PreTokenizer::gpt4o, "it's WE'LL 1234"), (Words{"it's", " WE'LL", " ", "123", "4"}));
}

TEST(TokenizerWords, Unnamed) {
  EXPECT_EQ(split(PreTokenizer::unnamed, "a+b, 12345"), (Words{"a", "+", "b", ",", " ", "123", "45"}));
}

TEST(TokenizerWords, WordsAreTheWholeTextAndBytesThatAreNoUtf8StayTogether) {
  for (uint32_t how = 1; how < core::pre_tokenizer_count; ++how) {
    const std::string text = "a\xff\xfe b\xe2\x82 1\xed\xa0\x80\n\xf4\x90\x80\x80  ";
    std::string joined;
    for (const std::string_view word : split(static_cast<PreTokenizer>(how), text)) {
      EXPECT_FALSE(word.empty());
      joined += word;
    }
    EXPECT_EQ(joined, text);
    EXPECT_TRUE(split(static_cast<PreTokenizer>(how), "").empty());
  }
}

}  // namespace
}  // namespace llmos
