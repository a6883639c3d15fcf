// SPDX-License-Identifier: MIT
// The layout of a vocabulary image: a header, then tables, all little-endian, found by offsets from the image's start.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "text/vocabulary.hpp"

namespace llmos::core {

static_assert(std::endian::native == std::endian::little, "vocabulary images are little-endian");

// Where a table stands in the image; its elements are of a type that the header fixes.
struct ImageTable {
  uint64_t offset;  // a multiple of 8
  uint64_t count;   // elements
};

struct VocabularyHeader {
  static constexpr std::array<char, 8> expected_magic{'L', 'L', 'M', 'O', 'S', 'V', 'O', 'C'};
  static constexpr uint32_t current_version = 1;  // of this layout, of the hash, and of what build() puts in
  static constexpr uint32_t expected_byte_order = 0x01020304;

  std::array<char, 8> magic;
  uint32_t version;
  uint32_t byte_order;
  uint64_t image_bytes;
  uint64_t checksum;  // hash_text() of the header with this field 0
  TokenizerKind kind;
  PreTokenizer pre_tokenizer;
  uint32_t flags;  // VocabularyFlag
  uint32_t size;   // tokens
  uint32_t longest_token;
  TokenId bos, eos, eot, unknown, padding;
  ByteSet special_first_bytes;
  ByteSet bytes_before_spaces;

  ImageTable text_ends;      // uint32_t[size]
  ImageTable texts;          // char[]
  ImageTable attributes;     // uint8_t[size]: the TokenType, and ends_generation_bit
  ImageTable scores;         // float[size], or nothing
  ImageTable text_slots;     // TextSlot[], open addressing by hash_text()
  ImageTable merge_slots;    // MergeSlot[], open addressing by hash_pair()
  ImageTable special_slots;  // SpecialSlot[], sorted by text
  ImageTable byte_tokens;    // TokenId[256]
};
static_assert(sizeof(VocabularyHeader) == 32 + 40 + 64 + 8 * 16);

uint64_t header_checksum(VocabularyHeader header);

enum VocabularyFlag : uint32_t {
  add_bos_flag = 1,
  add_eos_flag = 2,
  add_space_prefix_flag = 4,
  ignore_merges_flag = 8,
  all_vocabulary_flags = 15,
};

constexpr uint8_t token_type_mask = 7;
constexpr uint8_t ends_generation_bit = 8;

struct TextSlot {
  uint32_t tag;   // the upper half of the hash
  TokenId token;  // no_token in an empty slot
};

struct MergeSlot {
  TokenId left;  // no_token in an empty slot
  TokenId right;
  uint32_t rank;
  TokenId result;
};

struct SpecialSlot {
  TokenId token;
  uint32_t parent;  // the slot of the longest other special token that this one begins with; itself when there is none
};

// A lookup looks at this many slots at most, so that no table can make it long.
constexpr uint32_t longest_probe = 512;

constexpr uint64_t first_slot(uint64_t hash, uint64_t slots) { return (hash & 0xffffffff) * slots >> 32; }
constexpr uint32_t slot_tag(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }
constexpr uint64_t slots_for(uint64_t entries) { return entries + entries / 2 + 1; }

}  // namespace llmos::core
