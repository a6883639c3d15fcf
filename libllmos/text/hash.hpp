// SPDX-License-Identifier: MIT
// The hash of the tables in a vocabulary image. It is part of the image's format: change it and the version with it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace llmos::core {

// Folds the 128-bit product: every bit of the result depends on every bit of both factors.
constexpr uint64_t mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline uint64_t hash_text(std::string_view text) {
  constexpr uint64_t factor = 0x9e3779b97f4a7c15;
  uint64_t hash = mix(text.size() ^ factor, 0xd1b54a32d192ed03);
  while (!text.empty()) {
    uint64_t word = 0;
    const size_t taken = std::min(text.size(), sizeof word);
    std::memcpy(&word, text.data(), taken);
    hash = mix(hash ^ word, factor);
    text.remove_prefix(taken);
  }
  return hash;
}

inline uint64_t hash_pair(uint32_t left, uint32_t right) {
  return mix((uint64_t{left} << 32 | right) ^ 0x9e3779b97f4a7c15, 0xd1b54a32d192ed03);
}

}  // namespace llmos::core
