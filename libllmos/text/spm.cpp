// SPDX-License-Identifier: MIT
// SentencePiece's BPE: neighbours merge into the token of the highest score; characters that are no token become bytes.
#include <bit>

#include "text/encoder.hpp"

namespace llmos::core {
namespace {

// A number that grows as the score falls.
uint32_t priority_of(float score) {
  const auto bits = std::bit_cast<uint32_t>(score + 0.0f);  // -0 becomes 0
  const uint32_t rising = bits & 0x80000000 ? ~bits : bits | 0x80000000;
  return ~rising;
}

}  // namespace

void Encoder::encode_spm(std::string_view text, bool begins) {
  escape_spaces(text, begins && vocabulary_.special().add_space_prefix);
  cut_before_spaces(escaped_, [&](std::string_view word) { encode_spm_word(word); });
}

void Encoder::encode_spm_word(std::string_view word) {
  add_characters(word);
  merger_.run([&](const Symbol& left, const Symbol& right) -> Merged {
    const uint32_t bytes = left.bytes + right.bytes;
    if (bytes > vocabulary_.longest_token()) return {0, no_token};
    const TokenId token = vocabulary_.find(word.substr(left.begin, bytes));
    if (token == no_token) return {0, no_token};
    return {priority_of(vocabulary_.score(token)), token};
  });
  emit(word);
}

}  // namespace llmos::core
