// SPDX-License-Identifier: MIT
// From a model file's metadata to a vocabulary: defaults, flags, and what is refused.
#include <gtest/gtest.h>

#include <cerrno>
#include <cmath>

#include "format/gguf_vocabulary.hpp"
#include "support/failure.hpp"
#include "support/gguf_writer.hpp"
#include "support/small_vocabulary.hpp"
#include "text/hash.hpp"

namespace llmos {
namespace {

using core::Gguf;
using core::no_token;
using core::PreTokenizer;
using core::TokenId;
using core::TokenizerKind;
using core::TokenType;
using core::Vocabulary;
using test::GgufWriter;
using test::SmallVocabulary;
using Strings = std::vector<std::string>;

GgufWriter spm() {
  GgufWriter writer;
  writer.set("tokenizer.ggml.model", "llama");
  writer.set_array("tokenizer.ggml.tokens", Strings{"<unk>", "<s>", "</s>", "a"});
  return writer;
}

GgufWriter bpe(std::string_view pre) {
  GgufWriter writer;
  writer.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.pre", pre);
  writer.set_array("tokenizer.ggml.tokens", Strings{"a", "b", "ab"});
  writer.set_array("tokenizer.ggml.merges", Strings{"a b"});
  return writer;
}

// The strings of the source are views of the file, which must live on: so only numbers are looked at.
core::VocabularySource read(const GgufWriter& writer) {
  static std::vector<std::byte> file;
  file = writer.bytes();
  return core::read_vocabulary(Gguf(file));
}

TEST(TokenizerSource, DefaultsOfSpm) {
  const auto source = read(spm());
  EXPECT_EQ(source.kind, TokenizerKind::spm);
  EXPECT_EQ(source.special.bos, 1);
  EXPECT_EQ(source.special.eos, 2);
  EXPECT_EQ(source.special.unknown, 0);
  EXPECT_EQ(source.special.padding, no_token);
  EXPECT_TRUE(source.special.add_bos);
  EXPECT_FALSE(source.special.add_eos);
  EXPECT_TRUE(source.special.add_space_prefix);
}

TEST(TokenizerSource, TheFilesFlagsAndIdsCount) {
  auto writer = spm();
  writer.set("tokenizer.ggml.bos_token_id", uint32_t{3}).set("tokenizer.ggml.eot_token_id", uint32_t{0});
  writer.set("tokenizer.ggml.add_bos_token", false).set("tokenizer.ggml.add_eos_token", true);
  writer.set("tokenizer.ggml.add_space_prefix", false);
  writer.set("tokenizer.ggml.padding_token_id", uint32_t{0xffffffff});  // some files say so for "none"
  writer.set("tokenizer.ggml.unknown_token_id", int32_t{-1});
  const auto source = read(writer);
  EXPECT_EQ(source.special.bos, 3);
  EXPECT_EQ(source.special.eot, 0);
  EXPECT_FALSE(source.special.add_bos);
  EXPECT_TRUE(source.special.add_eos);
  EXPECT_FALSE(source.special.add_space_prefix);
  EXPECT_EQ(source.special.padding, no_token);
}

TEST(TokenizerSource, NamesOfPreTokenizers) {
  EXPECT_EQ(read(bpe("llama-bpe").set("tokenizer.ggml.bos_token_id", uint32_t{0})).pre_tokenizer, PreTokenizer::llama3);
  EXPECT_TRUE(read(bpe("llama-bpe").set("tokenizer.ggml.bos_token_id", uint32_t{0})).ignore_merges);
  EXPECT_EQ(read(bpe("qwen2")).pre_tokenizer, PreTokenizer::qwen2);
  EXPECT_FALSE(read(bpe("qwen2")).ignore_merges);
  EXPECT_FALSE(read(bpe("qwen2")).special.add_bos);
  EXPECT_EQ(read(bpe("smollm")).pre_tokenizer, PreTokenizer::starcoder);
  EXPECT_EQ(read(bpe("default")).pre_tokenizer, PreTokenizer::unnamed);
  EXPECT_FAILURE(ENOTSUP, "by the rules called \"klingon\"", read(bpe("klingon")));
}

TEST(TokenizerSource, ScoresAndTypes) {
  auto writer = spm();
  writer.set_array("tokenizer.ggml.scores", {0.0f, 0.0f, 0.0f, -1.5f});
  writer.set_array("tokenizer.ggml.token_type", {2, 3, 3, 99});
  const Vocabulary vocabulary = Vocabulary::build(read(writer));
  EXPECT_EQ(vocabulary.score(3), -1.5f);
  EXPECT_EQ(vocabulary.type(0), TokenType::unknown);
  EXPECT_EQ(vocabulary.type(1), TokenType::control);
  EXPECT_EQ(vocabulary.type(3), TokenType::undefined);
}

TEST(TokenizerSource, MissingAndWrongKeysAreNamed) {
  const auto with_model = [](std::string_view model) {
    GgufWriter writer;
    writer.set("tokenizer.ggml.model", model);
    return writer;
  };
  EXPECT_FAILURE(ENOENT, "no key \"tokenizer.ggml.model\"", read(GgufWriter()));
  EXPECT_FAILURE(ENOTSUP, "of the kind \"bert\"", read(with_model("bert")));
  EXPECT_FAILURE(ENOENT, "no key \"tokenizer.ggml.tokens\"", read(with_model("llama")));
  EXPECT_FAILURE(EINVAL, "\"tokenizer.ggml.tokens\" is an array of i32",
                 read(with_model("llama").set_array("tokenizer.ggml.tokens", {1, 2})));
  EXPECT_FAILURE(ENOENT, "no key \"tokenizer.ggml.merges\"",
                 read(with_model("gpt2").set_array("tokenizer.ggml.tokens", Strings{"a"})));
  EXPECT_FAILURE(EBADMSG, "\"tokenizer.ggml.scores\" has 1 elements for 4 tokens",
                 read(spm().set_array("tokenizer.ggml.scores", {0.0f})));
  EXPECT_FAILURE(EBADMSG, "\"tokenizer.ggml.token_type\" has 2 elements for 4 tokens",
                 read(spm().set_array("tokenizer.ggml.token_type", {1, 1})));
}

TEST(TokenizerSource, ContradictionsAreRefused) {
  const auto build = [](auto change) {
    SmallVocabulary v(TokenizerKind::spm);
    v.add("a"), v.add("b");
    change(v);
    return Vocabulary::build(v.source);
  };
  EXPECT_NO_THROW(build([](SmallVocabulary&) {}));
  EXPECT_FAILURE(EBADMSG, "tokens 0 and 2 are both \"a\"", build([](auto& v) { v.add("a"); }));
  EXPECT_FAILURE(EBADMSG, "1 token types for 2 tokens", build([](auto& v) { v.source.types.pop_back(); }));
  EXPECT_FAILURE(EBADMSG, "3 scores for 2 tokens", build([](auto& v) { v.source.scores.push_back(0); }));
  EXPECT_FAILURE(EBADMSG, "a score is NaN", build([](auto& v) { v.source.scores[1] = NAN; }));
  EXPECT_FAILURE(EBADMSG, "the EOS token is 2, but there are 2 tokens",
                 build([](auto& v) { v.source.special.eos = 2; }));
  EXPECT_FAILURE(EBADMSG, "the BOS token is -2", build([](auto& v) { v.source.special.bos = -2; }));
  EXPECT_FAILURE(EBADMSG, "adds a BOS token but has none", build([](auto& v) { v.source.special.add_bos = true; }));
  EXPECT_FAILURE(EBADMSG, "adds an EOS token but has none", build([](auto& v) { v.source.special.add_eos = true; }));
  EXPECT_FAILURE(EBADMSG, "0 tokens", Vocabulary::build({}));
}

TEST(TokenizerSource, EmptyTokensAreAllowedAndNeverFound) {
  SmallVocabulary v(TokenizerKind::spm);
  v.add(""), v.add("a"), v.add("", TokenType::control);
  const auto tokenizer = v.tokenizer();
  EXPECT_EQ(tokenizer.vocabulary().find(""), no_token);
  EXPECT_EQ(tokenizer.encode("aa", {.add_special = false, .parse_special = true}), (std::vector<TokenId>{1, 1}));
  EXPECT_EQ(tokenizer.decode(std::vector<TokenId>{0, 1, 2}, {.special = true}), "a");
}

// Texts of three words that all have the same hash: the second word annuls what the first one left.
std::string colliding_text(uint64_t first) {
  const uint64_t start = core::mix(24 ^ 0x9e3779b97f4a7c15, 0xd1b54a32d192ed03);
  const uint64_t words[] = {first, core::mix(start ^ first, 0x9e3779b97f4a7c15), 7};
  return {reinterpret_cast<const char*>(words), sizeof words};
}

TEST(TokenizerSource, ManyTokensOfOneHashAreRefusedRatherThanSlow) {
  ASSERT_EQ(core::hash_text(colliding_text(1)), core::hash_text(colliding_text(2)));
  SmallVocabulary v(TokenizerKind::spm);
  for (uint64_t count = 0; count < 100; ++count) v.add(colliding_text(count));
  EXPECT_NO_THROW(v.tokenizer());
  for (uint64_t count = 100; count < 1000; ++count) v.add(colliding_text(count));
  EXPECT_FAILURE(EBADMSG, "too many of its texts have one hash", v.tokenizer());
}

}  // namespace
}  // namespace llmos
