// SPDX-License-Identifier: MIT
#include "text/unicode.hpp"

#include <algorithm>

namespace llmos::core {
namespace {

#include "text/unicode_tables.inc"

constexpr uint8_t byte_at(std::string_view text, size_t index) { return static_cast<uint8_t>(text[index]); }
constexpr bool continues(uint8_t byte) { return (byte & 0xc0) == 0x80; }

// Bytes of the sequence that `lead` begins; 0 when it begins none.
constexpr uint32_t sequence_bytes(uint8_t lead) {
  if (lead < 0x80) return 1;
  if (lead < 0xc2) return 0;  // a continuation, or the lead of an overlong form
  if (lead < 0xe0) return 2;
  if (lead < 0xf0) return 3;
  return lead < 0xf5 ? 4 : 0;
}

// The second byte decides whether a sequence is overlong, a surrogate or past U+10FFFF.
constexpr bool second_is_valid(uint8_t lead, uint8_t second) {
  if (lead == 0xe0) return second >= 0xa0 && continues(second);
  if (lead == 0xed) return second < 0xa0 && continues(second);
  if (lead == 0xf0) return second >= 0x90 && continues(second);
  if (lead == 0xf4) return second < 0x90 && continues(second);
  return continues(second);
}

}  // namespace

CharacterClass character_class(uint32_t code_point) {
  if (code_point >= 0x110000) return CharacterClass::other;
  const uint32_t index = block_of[code_point / block_size] * block_size + code_point % block_size;
  const uint8_t pair = packed_classes[index / 2];
  return static_cast<CharacterClass>(index % 2 ? pair >> 4 : pair & 15);
}

CodePoint decode_code_point(std::string_view text) {
  constexpr CodePoint invalid{not_utf8, 1};
  const uint8_t lead = byte_at(text, 0);
  const uint32_t bytes = sequence_bytes(lead);
  if (bytes == 1) return {lead, 1};
  if (bytes == 0 || bytes > text.size() || !second_is_valid(lead, byte_at(text, 1))) return invalid;
  uint32_t value = lead & (0xff >> (bytes + 1));
  for (uint32_t index = 1; index < bytes; ++index) {
    if (!continues(byte_at(text, index))) return invalid;
    value = value << 6 | (byte_at(text, index) & 0x3f);
  }
  return {value, bytes};
}

size_t unfinished_utf8(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const uint8_t byte = byte_at(text, text.size() - back);
    if (continues(byte)) continue;
    if (sequence_bytes(byte) <= back) return 0;
    return back == 1 || second_is_valid(byte, byte_at(text, text.size() - back + 1)) ? back : 0;
  }
  return 0;
}

}  // namespace llmos::core
