// SPDX-License-Identifier: MIT
// The quantised blocks of GGUF files, byte for byte, and the two small decodings that every kernel shares.
#pragma once

#include <cstdint>
#include <cstring>

namespace llmos::core {

struct BlockQ4_0 {      // 32 values: scale * (nibble - 8)
  uint16_t scale;       // IEEE half
  uint8_t nibbles[16];  // value i in the low half of byte i, value i + 16 in the high half
};

struct BlockQ5_0 {  // 32 values: scale * (five bits - 16)
  uint16_t scale;
  uint8_t high[4];  // bit i is the fifth bit of value i
  uint8_t nibbles[16];
};

struct BlockQ8_0 {  // 32 values: scale * value
  uint16_t scale;
  int8_t values[32];
};

struct BlockQ4_K {  // 256 values in 8 parts of 32: scale * scales[part] * nibble - minimum * minimums[part]
  uint16_t scale, minimum;
  uint8_t packed[12];    // 8 scales and 8 minimums of 6 bits
  uint8_t nibbles[128];  // parts 2i and 2i + 1 in the low and high halves of bytes [32 i, 32 i + 32)
};

struct BlockQ5_K {
  uint16_t scale, minimum;
  uint8_t packed[12];
  uint8_t high[32];  // bit p of byte i is the fifth bit of value i of part p
  uint8_t nibbles[128];
};

struct BlockQ6_K {  // 256 values in 16 parts of 16: scale * scales[part] * (six bits - 32)
  uint8_t nibbles[128];
  uint8_t high[64];
  int8_t scales[16];
  uint16_t scale;
};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ5_0) == 22 && sizeof(BlockQ8_0) == 34);
static_assert(sizeof(BlockQ4_K) == 144 && sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210);

inline float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = half >> 10 & 31, mantissa = half & 1023;
  uint32_t bits = sign | (exponent + 112) << 23 | mantissa << 13;
  if (exponent == 31) bits = sign | 0x7f800000u | mantissa << 13;
  float value;
  std::memcpy(&value, &bits, 4);
  if (exponent == 0) {  // zero or denormal: mantissa * 2^-24, exact
    value = static_cast<float>(mantissa) * 0x1p-24f;
    if (sign) value = -value;
  }
  return value;
}

// Rounds to nearest even, as the F16C instructions do.
inline uint16_t float_to_half(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00);   // not a number
  if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);  // rounds to infinity
  if (magnitude < 0x38800000) {                                              // denormal: let the adder round
    float absolute;
    std::memcpy(&absolute, &magnitude, 4);
    absolute += 0.5f;  // the last bit of a float in [0.5, 1) is 2^-24, a denormal half's unit
    uint32_t rounded;
    std::memcpy(&rounded, &absolute, 4);
    return static_cast<uint16_t>(sign | (rounded - 0x3f000000));
  }
  const uint32_t odd = magnitude >> 13 & 1;
  return static_cast<uint16_t>(sign | ((magnitude + 0xfff + odd - 0x38000000) >> 13));
}

inline float bfloat_to_float(uint16_t value) {
  const uint32_t bits = static_cast<uint32_t>(value) << 16;
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}

// The 8 scales and the 8 minimums of a Q4_K or Q5_K block.
inline void unpack_scales(const uint8_t packed[12], uint8_t scales[8], uint8_t minimums[8]) {
  for (int part = 0; part < 4; part++) {
    scales[part] = packed[part] & 63;
    minimums[part] = packed[part + 4] & 63;
    scales[part + 4] = static_cast<uint8_t>((packed[part + 8] & 15) | (packed[part] >> 6) << 4);
    minimums[part + 4] = static_cast<uint8_t>(packed[part + 8] >> 4 | (packed[part + 4] >> 6) << 4);
  }
}

}  // namespace llmos::core
