// SPDX-License-Identifier: MIT
// The hash of the tables in a vocabulary image. It is part of the image's format: change it and the version with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace llmos::core {

// Folds the 128-bit product: every bit of the result depends on every bit of both factors.
constexpr uint64_t mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

template <typename Word>
uint64_t load_word(const char* data) {
  Word word;
  std::memcpy(&word, data, sizeof word);
  return word;
}

// All of a text of up to 8 bytes, in one word. Loads overlap, so that none has a variable length.
inline uint64_t load_short(std::string_view text) {
  const size_t size = text.size();
  if (size >= 4) return load_word<uint32_t>(text.data()) << 32 | load_word<uint32_t>(text.data() + size - 4);
  if (size == 0) return 0;
  return load_word<uint8_t>(text.data()) << 16 | load_word<uint8_t>(text.data() + size / 2) << 8 |
         load_word<uint8_t>(text.data() + size - 1);
}

inline uint64_t hash_text(std::string_view text) {
  constexpr uint64_t factor = 0x9e3779b97f4a7c15;
  uint64_t hash = mix(text.size() ^ factor, 0xd1b54a32d192ed03);
  if (text.size() <= 8) return mix(hash ^ load_short(text), factor);
  const char* last = text.data() + text.size() - 8;
  for (const char* word = text.data(); word < last; word += 8) hash = mix(hash ^ load_word<uint64_t>(word), factor);
  return mix(hash ^ load_word<uint64_t>(last), factor);
}

inline uint64_t hash_pair(uint32_t left, uint32_t right) {
  return mix((uint64_t{left} << 32 | right) ^ 0x9e3779b97f4a7c15, 0xd1b54a32d192ed03);
}

}  // namespace llmos::core
