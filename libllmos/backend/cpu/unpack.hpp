// SPDX-License-Identifier: MIT
// Every quantised type in one form: unsigned bytes, and for each part of 16 or 32 of them
//     weight = scale * (byte - zero)      or, for the types with minimums,      weight = scale * byte - minimum
// so that one matrix loop serves them all. Included once per instruction set.
#pragma once

#include "backend/cpu/kernels.hpp"
#include "backend/cpu/simd.hpp"

namespace llmos::core::LLMOS_SET {

typedef uint8_t Nibbles __attribute__((vector_size(16)));

// 16 bytes become 32: their low halves, then their high halves.
inline void split_nibbles(const uint8_t* nibbles, uint8_t* bytes) {
  Nibbles v;
  std::memcpy(&v, nibbles, sizeof v);
  const Nibbles low = v & 15, high = v >> 4;
  std::memcpy(bytes, &low, sizeof low);
  std::memcpy(bytes + 16, &high, sizeof high);
}

struct UnpackQ4_0 {
  using Block = BlockQ4_0;
  static constexpr size_t elements = 32, part = 32;
  static constexpr int zero = 8, largest = 15;
  static constexpr bool minimums = false;
  static void unpack(const Block& block, uint8_t* __restrict bytes, float* scale, float*) {
    *scale = half(block.scale);
    split_nibbles(block.nibbles, bytes);
  }
};

struct UnpackQ5_0 {
  using Block = BlockQ5_0;
  static constexpr size_t elements = 32, part = 32;
  static constexpr int zero = 16, largest = 31;
  static constexpr bool minimums = false;
  static void unpack(const Block& block, uint8_t* __restrict bytes, float* scale, float*) {
    *scale = half(block.scale);
    split_nibbles(block.nibbles, bytes);
    for (int i = 0; i < 4; i++) {  // eight bits of a byte to the fifth bits of eight bytes
      uint64_t eight;
      std::memcpy(&eight, bytes + 8 * i, sizeof eight);
      const uint64_t spread = (block.high[i] * 0x0101010101010101u) & 0x8040201008040201u;
      const uint64_t present = (spread + 0x7f7f7f7f7f7f7f7fu) & 0x8080808080808080u;  // no byte carries over
      eight |= present >> 3;
      std::memcpy(bytes + 8 * i, &eight, sizeof eight);
    }
  }
};

struct UnpackQ8_0 {
  using Block = BlockQ8_0;
  static constexpr size_t elements = 32, part = 32;
  static constexpr int zero = 128, largest = 255;
  static constexpr bool minimums = false;
  static void unpack(const Block& block, uint8_t* __restrict bytes, float* scale, float*) {
    *scale = half(block.scale);
    for (int i = 0; i < 32; i++) bytes[i] = static_cast<uint8_t>(block.values[i]) ^ 0x80;
  }
};

inline void scales_and_minimums(uint16_t scale, uint16_t minimum, const uint8_t packed[12], float* scales,
                                float* minimums) {
  uint8_t small_scales[8], small_minimums[8];
  unpack_scales(packed, small_scales, small_minimums);
  const float unit = half(scale), minimum_unit = half(minimum);
  for (int i = 0; i < 8; i++) scales[i] = unit * small_scales[i];
  for (int i = 0; i < 8; i++) minimums[i] = minimum_unit * small_minimums[i];
}

struct UnpackQ4_K {
  using Block = BlockQ4_K;
  static constexpr size_t elements = 256, part = 32;
  static constexpr int zero = 0, largest = 15;
  static constexpr bool minimums = true;
  static void unpack(const Block& block, uint8_t* __restrict bytes, float* scales, float* minimums) {
    scales_and_minimums(block.scale, block.minimum, block.packed, scales, minimums);
    for (int pair = 0; pair < 4; pair++)
      for (int i = 0; i < 32; i++) {
        bytes[pair * 64 + i] = block.nibbles[pair * 32 + i] & 15;
        bytes[pair * 64 + 32 + i] = block.nibbles[pair * 32 + i] >> 4;
      }
  }
};

struct UnpackQ5_K {
  using Block = BlockQ5_K;
  static constexpr size_t elements = 256, part = 32;
  static constexpr int zero = 0, largest = 31;
  static constexpr bool minimums = true;
  static void unpack(const Block& block, uint8_t* __restrict bytes, float* scales, float* minimums) {
    scales_and_minimums(block.scale, block.minimum, block.packed, scales, minimums);
    for (int pair = 0; pair < 4; pair++)
      for (int i = 0; i < 32; i++) {
        const int low = block.high[i] >> 2 * pair & 1, high = block.high[i] >> (2 * pair + 1) & 1;
        bytes[pair * 64 + i] = static_cast<uint8_t>((block.nibbles[pair * 32 + i] & 15) | low << 4);
        bytes[pair * 64 + 32 + i] = static_cast<uint8_t>(block.nibbles[pair * 32 + i] >> 4 | high << 4);
      }
  }
};

struct UnpackQ6_K {
  using Block = BlockQ6_K;
  static constexpr size_t elements = 256, part = 16;
  static constexpr int zero = 32, largest = 63;
  static constexpr bool minimums = false;
  static void unpack(const Block& block, uint8_t* __restrict bytes, float* scales, float*) {
    const float unit = half(block.scale);
    for (int i = 0; i < 16; i++) scales[i] = unit * block.scales[i];
    for (int half = 0; half < 2; half++)
      for (int i = 0; i < 32; i++) {
        const uint8_t a = block.nibbles[half * 64 + i], b = block.nibbles[half * 64 + 32 + i];
        const uint8_t high = block.high[half * 32 + i];
        uint8_t* out = bytes + half * 128 + i;
        out[0] = static_cast<uint8_t>((a & 15) | (high & 3) << 4);
        out[32] = static_cast<uint8_t>((b & 15) | (high >> 2 & 3) << 4);
        out[64] = static_cast<uint8_t>(a >> 4 | (high >> 4 & 3) << 4);
        out[96] = static_cast<uint8_t>(b >> 4 | (high >> 6) << 4);
      }
  }
};

// Calls body(Unpack{}) for the quantised type; false for float types.
template <typename Body>
inline bool with_unpack(TensorType type, const Body& body) {
  switch (type) {
    case TensorType::q4_0:
      body(UnpackQ4_0{});
      return true;
    case TensorType::q5_0:
      body(UnpackQ5_0{});
      return true;
    case TensorType::q8_0:
      body(UnpackQ8_0{});
      return true;
    case TensorType::q4_k:
      body(UnpackQ4_K{});
      return true;
    case TensorType::q5_k:
      body(UnpackQ5_K{});
      return true;
    case TensorType::q6_k:
      body(UnpackQ6_K{});
      return true;
    default:
      return false;
  }
}

}  // namespace llmos::core::LLMOS_SET
