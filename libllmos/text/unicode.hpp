// SPDX-License-Identifier: MIT
// UTF-8 and the classes of code points that pre-tokenizers ask for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace llmos::core {

// Disjoint: white space is Unicode's White_Space; the others are general categories.
enum class CharacterClass : uint8_t {
  other,  // unassigned, control, format, surrogate, private use, and bytes that are no UTF-8
  space,
  upper,        // Lu, Lt
  lower,        // Ll
  letter,       // Lm, Lo
  mark,         // M*
  number,       // N*
  punctuation,  // P*
  symbol,       // S*
};

CharacterClass character_class(uint32_t code_point);

constexpr bool is_letter(CharacterClass c) { return c >= CharacterClass::upper && c <= CharacterClass::letter; }

struct CodePoint {
  uint32_t value;  // not_utf8 for a byte that does not begin a valid sequence
  uint32_t bytes;  // 1 to 4
};
inline constexpr uint32_t not_utf8 = 0xffffffff;

// The code point that `text` begins with; `text` must not be empty. Overlong forms, surrogates and cut sequences are
// not UTF-8: they come out byte by byte.
CodePoint decode_code_point(std::string_view text);

// Bytes at the end of `text` that begin a UTF-8 sequence and lack its rest; 0 to 3.
size_t unfinished_utf8(std::string_view text);

}  // namespace llmos::core
