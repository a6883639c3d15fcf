// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

namespace llmos::test {

// A code point's UTF-8, by the rule alone: also of those that may not stand in a text.
inline std::string utf8(uint32_t value) {
  const auto byte = [](uint32_t bits) { return static_cast<char>(bits); };
  const auto tail = [&](int shift) { return byte(0x80 | (value >> shift & 0x3f)); };
  if (value < 0x80) return {byte(value)};
  if (value < 0x800) return {byte(0xc0 | value >> 6), tail(0)};
  if (value < 0x10000) return {byte(0xe0 | value >> 12), tail(6), tail(0)};
  return {byte(0xf0 | value >> 18), tail(12), tail(6), tail(0)};
}

}  // namespace llmos::test
