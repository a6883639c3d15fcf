// SPDX-License-Identifier: MIT
// Vocabulary images: what is attached is what was built, and damaged images never crash.
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <random>

#include "format/gguf_vocabulary.hpp"
#include "support/failure.hpp"
#include "support/small_vocabulary.hpp"
#include "support/test_data.hpp"
#include "text/vocabulary_image.hpp"

namespace llmos {
namespace {

using core::TokenId;
using core::Tokenizer;
using core::TokenizerKind;
using core::TokenType;
using core::Vocabulary;
using core::VocabularyHeader;
using test::SmallVocabulary;
using Image = std::vector<std::byte>;

SmallVocabulary sample() {
  SmallVocabulary v(TokenizerKind::byte_bpe);
  v.add_bytes();
  v.source.special.bos = v.add("<s>", TokenType::control);
  v.source.special.add_bos = true;
  v.source.special.eos = v.add("<s>2", TokenType::control);
  v.add("<td>", TokenType::user_defined);
  v.add_merge("a", "b");
  v.add_merge("ab", "c");
  return v;
}

Image image_of(const Vocabulary& vocabulary) { return {vocabulary.image().begin(), vocabulary.image().end()}; }

VocabularyHeader header_of(const Image& image) {
  VocabularyHeader header;
  std::memcpy(&header, image.data(), sizeof header);
  return header;
}

// The image with its header changed and the checksum made right again, as a forger would.
Image forged(Image image, const std::function<void(VocabularyHeader&)>& change) {
  VocabularyHeader header = header_of(image);
  change(header);
  header.checksum = core::header_checksum(header);
  std::memcpy(image.data(), &header, sizeof header);
  return image;
}

// Encodes and decodes through the image; a Failure is fine, anything else is not.
void exercise(const Image& image) {
  try {
    const Tokenizer tokenizer(Vocabulary::view(image));
    const Vocabulary& vocabulary = tokenizer.vocabulary();
    for (const std::string_view text : {"abc<s>2<td>", "<<<<", "a\xff\xc3\xa9 1\n\n", ""})
      for (const bool parse : {false, true})
        tokenizer.decode(tokenizer.encode(text, {.parse_special = parse}), {.special = true});
    for (uint32_t id = 0; id < std::min(vocabulary.size(), 300u); ++id) {
      const auto token = static_cast<TokenId>(id);
      vocabulary.text(token), vocabulary.type(token), vocabulary.score(token), vocabulary.ends_generation(token);
    }
  } catch (const core::Failure&) {
  }
}

TEST(TokenizerImage, WhatIsAttachedIsWhatWasBuilt) {
  const Vocabulary built = Vocabulary::build(sample().source);
  const Image copy = image_of(built);
  const Vocabulary viewed = Vocabulary::view(copy);
  ASSERT_EQ(viewed.size(), built.size());
  for (uint32_t index = 0; index < built.size(); ++index) {
    const auto id = static_cast<TokenId>(index);
    EXPECT_EQ(viewed.text(id), built.text(id));
    EXPECT_EQ(viewed.type(id), built.type(id));
    EXPECT_EQ(viewed.find(built.text(id)), id);
    EXPECT_EQ(viewed.ends_generation(id), built.ends_generation(id));
  }
  EXPECT_EQ(viewed.special().bos, built.special().bos);
  EXPECT_TRUE(viewed.special().add_bos);
  EXPECT_FALSE(viewed.special().add_eos);
  const std::string text = "abc<td> abc\xff";
  EXPECT_EQ(Tokenizer(Vocabulary::view(copy)).encode(text), Tokenizer(Vocabulary::build(sample().source)).encode(text));
}

TEST(TokenizerImage, TheSameSourceGivesTheSameImage) {
  EXPECT_EQ(image_of(Vocabulary::build(sample().source)), image_of(Vocabulary::build(sample().source)));
}

TEST(TokenizerImage, AVocabularyMayMove) {
  Vocabulary first = Vocabulary::build(sample().source);
  const Vocabulary second = std::move(first);
  EXPECT_EQ(second.text('a'), "a");
  EXPECT_EQ(second.find("ab"), second.size() - 2);
}

TEST(TokenizerImage, EveryFlippedBitOfTheHeaderIsNoticed) {
  const Image sound = image_of(Vocabulary::build(sample().source));
  for (size_t bit = 0; bit < sizeof(VocabularyHeader) * 8; ++bit) {
    Image image = sound;
    image[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_FAILURE(EBADMSG, "vocabulary image", Vocabulary::view(image)) << "bit " << bit;
  }
}

TEST(TokenizerImage, EveryTruncationIsNoticed) {
  const Image sound = image_of(Vocabulary::build(sample().source));
  for (size_t size = 0; size < sound.size(); size += size < 300 ? 1 : 97)
    EXPECT_FAILURE(EBADMSG, "vocabulary image", Vocabulary::view(std::span(sound).first(size)));
  Image longer = sound;
  longer.resize(longer.size() + 8);
  EXPECT_FAILURE(EBADMSG, "bytes where its header says", Vocabulary::view(longer));
}

TEST(TokenizerImage, AMisalignedImageIsRefused) {
  Image image = image_of(Vocabulary::build(sample().source));
  image.insert(image.begin(), std::byte{});
  EXPECT_FAILURE(EINVAL, "not 8-byte aligned", Vocabulary::view(std::span(image).subspan(1)));
}

struct Forgery {
  std::string name;
  std::string message;
  std::function<void(VocabularyHeader&)> change;
};

class TokenizerImageForged : public testing::TestWithParam<Forgery> {};

TEST_P(TokenizerImageForged, IsRefused) {
  const Image sound = image_of(Vocabulary::build(sample().source));
  EXPECT_NO_THROW(Vocabulary::view(forged(sound, [](VocabularyHeader&) {})));
  const Image image = forged(sound, GetParam().change);
  EXPECT_FAILURE(EBADMSG, GetParam().message, Vocabulary::view(image));
}

std::vector<Forgery> forgeries() {
  using H = VocabularyHeader;
  std::vector<Forgery> list{
      {"Version", "unknown version 2", [](H& h) { h.version = 2; }},
      {"ByteOrder", "other byte order", [](H& h) { h.byte_order = 0x04030201; }},
      {"Kind", "unknown tokenizer kind", [](H& h) { h.kind = static_cast<TokenizerKind>(4); }},
      {"PreTokenizer", "unknown pre-tokenizer",
       [](H& h) { h.pre_tokenizer = static_cast<core::PreTokenizer>(core::pre_tokenizer_count); }},
      {"Flags", "unknown flags", [](H& h) { h.flags |= 1 << 30; }},
      {"SizeHuge", "too many tokens", [](H& h) { h.size = 1u << 31; }},
      {"SizeOther", "table text_ends has", [](H& h) { h.size += 1; }},
      {"BosPastTheEnd", "a special token id out of range", [](H& h) { h.bos = static_cast<TokenId>(h.size); }},
      {"EosNegative", "a special token id out of range", [](H& h) { h.eos = -2; }},
      {"EotPastTheEnd", "a special token id out of range", [](H& h) { h.eot = 1 << 30; }},
      {"UnknownPastTheEnd", "a special token id out of range", [](H& h) { h.unknown = 1 << 30; }},
      {"PaddingPastTheEnd", "a special token id out of range", [](H& h) { h.padding = 1 << 30; }},
      {"BosMissing", "adds a BOS", [](H& h) { h.bos = core::no_token; }},
      {"EosMissing", "adds an EOS",
       [](H& h) {
         h.eos = core::no_token;
         h.flags |= core::add_eos_flag;
       }},
  };
  const std::pair<const char*, core::ImageTable H::*> tables[] = {
      {"text_ends", &H::text_ends},         {"texts", &H::texts},
      {"attributes", &H::attributes},       {"scores", &H::scores},
      {"text_slots", &H::text_slots},       {"merge_slots", &H::merge_slots},
      {"special_slots", &H::special_slots}, {"byte_tokens", &H::byte_tokens}};
  for (const auto& [table_name, member] : tables) {
    const auto table = member;
    const std::string name = table_name;
    list.push_back({name + "_PastTheEnd", name, [=](H& h) { (h.*table).offset = h.image_bytes + 8; }});
    list.push_back({name + "_OffsetWraps", name, [=](H& h) { (h.*table).offset = ~uint64_t{7}; }});
    list.push_back({name + "_InsideTheHeader", name, [=](H& h) { (h.*table).offset = 8; }});
    list.push_back({name + "_Misaligned", name, [=](H& h) { (h.*table).offset += 4; }});
    list.push_back({name + "_CountHuge", name, [=](H& h) { (h.*table).count = ~uint64_t{0} / 4 + 2; }});
    list.push_back({name + "_CountTooLarge", name, [=](H& h) { (h.*table).count = h.image_bytes; }});
  }
  return list;
}

INSTANTIATE_TEST_SUITE_P(Field, TokenizerImageForged, testing::ValuesIn(forgeries()),
                         [](const auto& info) { return info.param.name; });

TEST(TokenizerImage, DamagedTablesNeverCrash) {
  const Image sound = image_of(Vocabulary::build(sample().source));
  std::mt19937 random(3);
  for (int round = 0; round < 3000; ++round) {
    Image image = sound;
    for (int count = 1 + static_cast<int>(random() % 4); count > 0; --count) {
      const size_t at = sizeof(VocabularyHeader) + random() % (image.size() - sizeof(VocabularyHeader));
      image[at] = static_cast<std::byte>(random());
    }
    exercise(image);
  }
}

TEST(TokenizerImage, TablesFullOfOneByteNeverCrashNorHang) {
  const Image sound = image_of(Vocabulary::build(sample().source));
  for (const int byte : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
    Image image = sound;
    std::fill(image.begin() + sizeof(VocabularyHeader), image.end(), static_cast<std::byte>(byte));
    exercise(image);
  }
}

TEST(TokenizerImage, ATokenIdOutOfRangeInATableIsAFailure) {
  Image image = image_of(Vocabulary::build(sample().source));
  const VocabularyHeader header = header_of(image);
  const TokenId wild = 1 << 20;
  std::memcpy(image.data() + header.byte_tokens.offset + 'a' * sizeof wild, &wild, sizeof wild);
  const Tokenizer tokenizer(Vocabulary::view(image));
  EXPECT_FAILURE(EBADMSG, "a table holds a token id out of range", tokenizer.encode("a"));
  EXPECT_FAILURE(EINVAL, "token 1048576 is not in the vocabulary", tokenizer.vocabulary().text(wild));
  EXPECT_FAILURE(EINVAL, "token -1 is not in the vocabulary", tokenizer.decode(std::vector<TokenId>{-1}));
}

TEST(TokenizerImage, AnEmptySpecialTokenIsNeverFound) {
  SmallVocabulary v = sample();
  const TokenId tag = v.add("<tr>", TokenType::control);
  Image image = image_of(Vocabulary::build(v.source));
  EXPECT_EQ(Vocabulary::view(image).find_special_prefix("<tr>", 4, true), tag);
  std::byte* ends = image.data() + header_of(image).text_ends.offset;
  std::memcpy(ends + tag * sizeof(uint32_t), ends + (tag - 1) * sizeof(uint32_t), sizeof(uint32_t));
  const Tokenizer tokenizer(Vocabulary::view(image));
  EXPECT_EQ(tokenizer.vocabulary().text(tag), "");
  EXPECT_EQ(tokenizer.vocabulary().find_special_prefix("<tr>", 4, true), core::no_token);
  exercise(image);
}

TEST(TokenizerImage, RealVocabulariesAttachWithoutReadingTheirTables) {
  LLMOS_NEED_DATA("vocab/ggml-vocab-llama-bpe.gguf");
  const auto file = test::read_bytes(test::data_path("vocab/ggml-vocab-llama-bpe.gguf"));
  const Vocabulary built = Vocabulary::build(core::read_vocabulary(core::Gguf(file)));
  const auto begin = std::chrono::steady_clock::now();
  const Vocabulary viewed = Vocabulary::view(built.image());
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(took, std::chrono::milliseconds(1));  // it takes less than a microsecond
  EXPECT_EQ(viewed.find("<|begin_of_text|>"), 128000);
}

}  // namespace
}  // namespace llmos
