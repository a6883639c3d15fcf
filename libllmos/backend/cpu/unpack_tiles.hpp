// SPDX-License-Identifier: MIT
// Rows of every type but F32 as brain floats, 32 columns at a time, which is one row of a tile. What is written is the
// dequantised weight rounded to nearest even, to the bit: the products inside are exact in floats, so there is one
// rounding to float and one to brain float, as in dequantize.cpp. Included by the amx set only.
//
// A type of up to five bits is looked up: its 16 or 32 possible weights are computed and rounded once for each scale,
// then one permutation of words gives 32 weights.
#pragma once

#include "backend/cpu/kernels.hpp"
#include "backend/cpu/simd.hpp"
#include "backend/cpu/unpack.hpp"

namespace llmos::core::LLMOS_SET {

using Words = __m512i;  // 32 brain floats, or 32 indices of them

inline Words to_bfloats(Float low, Float high) { return (__m512i)_mm512_cvtne2ps_pbh(high, low); }
inline Float low_floats(Words v) {  // the first 16
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(v)), 16));
}
inline Float high_floats(Words v) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(v, 1)), 16));
}
inline Words words_of(const uint8_t* bytes) {
  return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)));
}
inline Words choose(Words indices, Words table) { return _mm512_permutexvar_epi16(indices, table); }

inline Float count_from(float first) {
  return set(first) + _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
}

// The high nibbles of a block's 16 bytes follow the low ones. The bits above an index's four are left in place: a table
// of 16 stands in both halves, so the fifth does not matter, and the permutation looks at no more.
inline Words nibble_words(const uint8_t* nibbles) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(nibbles));
  const Words twice = _mm512_cvtepu8_epi16(_mm256_broadcastsi128_si256(bytes));
  return _mm512_mask_srli_epi16(twice, 0xffff0000, twice, 4);
}
inline Words with_fifth_bits(Words indices, __mmask32 bits) {
  const Words four = _mm512_and_si512(indices, _mm512_set1_epi16(15));
  return _mm512_mask_add_epi16(four, bits, four, _mm512_set1_epi16(16));
}

// Signed bytes with one scale for each 16.
inline Words scaled_bytes(const int8_t* bytes, float low, float high) {
  return to_bfloats(load_bytes(bytes) * set(low), load_bytes(bytes + 16) * set(high));
}

// Each has the number of columns that are unpacked at a time, and unpack(), which writes 32 columns at `out` and every
// further 32 at the next multiple of `step`.
struct TilesQ4_0 {
  using Block = BlockQ4_0;
  static constexpr size_t elements = 32;
  static void unpack(const Block& block, uint16_t* out, size_t) {
    const Float weights = count_from(-8) * set(half(block.scale));
    _mm512_storeu_si512(out, choose(nibble_words(block.nibbles), to_bfloats(weights, weights)));
  }
};

struct TilesQ5_0 {
  using Block = BlockQ5_0;
  static constexpr size_t elements = 32;
  static void unpack(const Block& block, uint16_t* out, size_t) {
    const Float scale = set(half(block.scale));
    const Words table = to_bfloats(count_from(-16) * scale, count_from(0) * scale);
    uint32_t fifth;
    std::memcpy(&fifth, block.high, sizeof fifth);
    _mm512_storeu_si512(out, choose(with_fifth_bits(nibble_words(block.nibbles), fifth), table));
  }
};

struct TilesQ8_0 {
  using Block = BlockQ8_0;
  static constexpr size_t elements = 32;
  static void unpack(const Block& block, uint16_t* out, size_t) {
    const float scale = half(block.scale);
    _mm512_storeu_si512(out, scaled_bytes(block.values, scale, scale));
  }
};

struct TilesQ4_K {
  using Block = BlockQ4_K;
  static constexpr size_t elements = 256;
  static void unpack(const Block& block, uint16_t* out, size_t step) {
    float scales[8], minimums[8];
    scales_and_minimums(block.scale, block.minimum, block.packed, scales, minimums);
    for (size_t part = 0; part < 8; part += 2, out += 2 * step) {
      const Words pair = words_of(block.nibbles + part * 16);
      _mm512_storeu_si512(out, choose(pair, table(scales[part], minimums[part])));
      _mm512_storeu_si512(out + step, choose(_mm512_srli_epi16(pair, 4), table(scales[part + 1], minimums[part + 1])));
    }
  }
  static Words table(float scale, float minimum) {
    const Float weights = _mm512_fmsub_ps(count_from(0), set(scale), set(minimum));
    return to_bfloats(weights, weights);
  }
};

struct TilesQ5_K {
  using Block = BlockQ5_K;
  static constexpr size_t elements = 256;
  static void unpack(const Block& block, uint16_t* out, size_t step) {
    float scales[8], minimums[8];
    scales_and_minimums(block.scale, block.minimum, block.packed, scales, minimums);
    const Words high = words_of(block.high);
    for (size_t part = 0; part < 8; part++, out += step) {
      const Words pair = words_of(block.nibbles + part / 2 * 32);
      const Words nibbles = part % 2 ? _mm512_srli_epi16(pair, 4) : pair;
      const __mmask32 fifth = _mm512_test_epi16_mask(high, _mm512_set1_epi16(static_cast<short>(1 << part)));
      _mm512_storeu_si512(out, choose(with_fifth_bits(nibbles, fifth), table(scales[part], minimums[part])));
    }
  }
  static Words table(float scale, float minimum) {
    return to_bfloats(_mm512_fmsub_ps(count_from(0), set(scale), set(minimum)),
                      _mm512_fmsub_ps(count_from(16), set(scale), set(minimum)));
  }
};

struct TilesQ6_K {
  using Block = BlockQ6_K;
  static constexpr size_t elements = 256;
  static void unpack(const Block& block, uint16_t* out, size_t step) {
    const float unit = half(block.scale);
    const __m256i lift = _mm256_set1_epi8(32);
    alignas(32) int8_t values[32];
    for (int quarter = 0; quarter < 8; quarter++, out += step) {
      const int part = quarter % 4;  // of a half block, whose four parts share its 32 high bytes
      const __m256i low = load_bits(block.nibbles + quarter / 4 * 64 + part % 2 * 32);
      const __m256i high = load_bits(block.high + quarter / 4 * 32);
      const __m256i nibbles = _mm256_and_si256(_mm256_srli_epi16(low, part / 2 * 4), _mm256_set1_epi8(15));
      const __m256i above = _mm256_and_si256(_mm256_srli_epi16(high, part * 2), _mm256_set1_epi8(3));
      const __m256i six = _mm256_or_si256(nibbles, _mm256_slli_epi16(above, 4));
      _mm256_store_si256(reinterpret_cast<__m256i*>(values), _mm256_sub_epi8(six, lift));
      const int8_t* scales = block.scales + quarter * 2;
      _mm512_storeu_si512(out, scaled_bytes(values, unit * scales[0], unit * scales[1]));
    }
  }
  static __m256i load_bits(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
};

}  // namespace llmos::core::LLMOS_SET
