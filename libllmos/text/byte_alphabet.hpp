// SPDX-License-Identifier: MIT
// How byte-level BPE vocabularies write bytes as printable characters: a byte that is a printable Latin-1 character
// stands for itself, and the others, in order, are U+0100 and up. So a space is U+0120.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace llmos::core {

namespace byte_alphabet {

constexpr bool stands_for_itself(uint32_t byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
}

constexpr auto code_points = [] {
  std::array<uint16_t, 256> table{};
  uint16_t next = 0x100;
  for (uint32_t byte = 0; byte < 256; ++byte)
    table[byte] = stands_for_itself(byte) ? static_cast<uint16_t>(byte) : next++;
  return table;
}();
constexpr uint32_t end = 0x100 + 68;  // one past the last code point of the alphabet

constexpr auto bytes = [] {
  std::array<int16_t, end> table{};
  table.fill(-1);
  for (int16_t byte = 0; byte < 256; ++byte) table[code_points[static_cast<uint8_t>(byte)]] = byte;
  return table;
}();

}  // namespace byte_alphabet

// Appends the character that stands for `byte`, in UTF-8.
inline void append_byte_character(uint8_t byte, std::string& out) {
  const uint32_t code_point = byte_alphabet::code_points[byte];
  if (code_point < 0x80) {
    out += static_cast<char>(code_point);
  } else {
    out += static_cast<char>(0xc0 | code_point >> 6);
    out += static_cast<char>(0x80 | (code_point & 0x3f));
  }
}

// The byte that a character stands for; -1 for characters outside of the alphabet.
constexpr int byte_of_character(uint32_t code_point) {
  return code_point < byte_alphabet::end ? byte_alphabet::bytes[code_point] : -1;
}

}  // namespace llmos::core
