// SPDX-License-Identifier: MIT
// Dot products of rows of quantised weights in 256-bit vectors, for AVX2 and for AVX-512 with VNNI. Included once per
// set.
//
// Common to all: products of bytes are summed in integers within a block, weighed by float scales of which eight are
// converted at once, and added to lanes that are summed only at the end of the row. What unsigned weights stand too
// high (8 for Q4_0, the minimums of Q4_K) is taken off by way of the activations' sums.
#pragma once

#include "backend/cpu/kernels.hpp"
#include "backend/cpu/simd.hpp"

namespace llmos::core::LLMOS_SET {

inline __m256i load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline __m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline __m256i low_bits(__m256i v) { return _mm256_and_si256(v, _mm256_set1_epi8(15)); }
inline __m256i high_bits(__m256i v) { return low_bits(_mm256_srli_epi16(v, 4)); }
inline __m256 as_floats(__m256i v) { return _mm256_cvtepi32_ps(v); }
inline float total8(__m256 v) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}

// Products of unsigned by signed bytes, four summed in each lane. Of the unsigned ones at most 63 (they are sums of two
// products in 16 bits without VNNI).
inline __m256i dot(__m256i u, __m256i s) {
#if defined(__AVX512VNNI__)
  return _mm256_dpbusd_epi32(_mm256_setzero_si256(), u, s);
#else
  return _mm256_madd_epi16(_mm256_maddubs_epi16(u, s), _mm256_set1_epi16(1));
#endif
}
inline __m256i dot_pair(__m256i u0, __m256i s0, __m256i u1, __m256i s1) {
#if defined(__AVX512VNNI__)
  return _mm256_dpbusd_epi32(_mm256_dpbusd_epi32(_mm256_setzero_si256(), u0, s0), u1, s1);
#else
  return _mm256_madd_epi16(_mm256_add_epi16(_mm256_maddubs_epi16(u0, s0), _mm256_maddubs_epi16(u1, s1)),
                           _mm256_set1_epi16(1));
#endif
}

template <size_t kAhead, size_t kBytes>
inline void prefetch(const std::byte* p) {
  if constexpr (kAhead > 0)
    for (size_t i = 0; i < kBytes; i += 64) _mm_prefetch(reinterpret_cast<const char*>(p) + kAhead + i, _MM_HINT_T0);
}

// The scales of 8 successive blocks of kSize bytes that begin with a half: the load for block k is placed so that its
// scale falls into word k.
template <size_t kSize>
inline __m256 eight_scales(const std::byte* p) {
  __m128i h = load16(p);
  h = _mm_blend_epi16(h, load16(p + 1 * (kSize - 2)), 1 << 1);
  h = _mm_blend_epi16(h, load16(p + 2 * (kSize - 2)), 1 << 2);
  h = _mm_blend_epi16(h, load16(p + 3 * (kSize - 2)), 1 << 3);
  h = _mm_blend_epi16(h, load16(p + 4 * (kSize - 2)), 1 << 4);
  h = _mm_blend_epi16(h, load16(p + 5 * (kSize - 2)), 1 << 5);
  h = _mm_blend_epi16(h, load16(p + 6 * (kSize - 2)), 1 << 6);
  h = _mm_blend_epi16(h, load16(p + 7 * (kSize - 2)), 1 << 7);
  return _mm256_cvtph_ps(h);
}

inline float scale_at(const std::byte* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof bits);
  return half(bits);
}

struct DotQ4_0 {
  static constexpr size_t streams = 4;

  template <size_t kRows>
  static void dot(const std::byte* const* rows, const ActivationRow& x, size_t columns, float* out) {
    const size_t blocks = columns / 32, whole = blocks / 8 * 8;
    __m256 sum[kRows], other[kRows];
    for (size_t k = 0; k < kRows; k++) sum[k] = other[k] = _mm256_setzero_ps();
    for (size_t b = 0; b < whole; b += 8) {
      const __m256 scales = _mm256_loadu_ps(x.scales + b);
      const __m256 too_much = _mm256_mul_ps(_mm256_loadu_ps(x.scaled_sums + b), _mm256_set1_ps(-8));
      __m256 scale[kRows];
      for (size_t k = 0; k < kRows; k++) {
        prefetch<1024, 8 * 18>(rows[k] + 18 * b);
        const __m256 own = eight_scales<18>(rows[k] + 18 * b);
        scale[k] = _mm256_mul_ps(own, scales);
        other[k] = _mm256_fmadd_ps(own, too_much, other[k]);
      }
      pair<0>(rows, x, b, scale, sum);
      pair<1>(rows, x, b, scale, kRows == 1 ? other : sum);
      pair<2>(rows, x, b, scale, sum);
      pair<3>(rows, x, b, scale, kRows == 1 ? other : sum);
    }
    for (size_t k = 0; k < kRows; k++) {
      sum[k] = _mm256_add_ps(sum[k], other[k]);
      for (size_t b = whole; b < blocks; b++) sum[k] = _mm256_add_ps(sum[k], single(rows[k] + 18 * b, x, b));
      out[k] = total8(sum[k]);
    }
  }

  // Blocks kPair and kPair + 4 of a group of eight, side by side.
  template <int kPair, size_t kRows>
  static void pair(const std::byte* const* rows, const ActivationRow& x, size_t b, const __m256 (&scale)[kRows],
                   __m256 (&sum)[kRows]) {
    const __m256i low = load32(x.split + 32 * b + 64 * kPair), high = load32(x.split + 32 * b + 64 * kPair + 32);
    for (size_t k = 0; k < kRows; k++) {
      const std::byte* p = rows[k] + 18 * (b + kPair) + 2;
      const __m256i v = _mm256_inserti128_si256(_mm256_castsi128_si256(load16(p)), load16(p + 18 * 4), 1);
      const __m256i products = dot_pair(low_bits(v), low, high_bits(v), high);
      sum[k] = _mm256_fmadd_ps(as_floats(products), _mm256_permute_ps(scale[k], 0x55 * kPair), sum[k]);
    }
  }

  static __m256 single(const std::byte* p, const ActivationRow& x, size_t b) {
    const __m128i v = load16(p + 2);
    const __m256i bytes = low_bits(_mm256_set_m128i(_mm_srli_epi16(v, 4), v));
    const float scale = scale_at(p);
    const __m256 too_much = _mm256_castps128_ps256(_mm_set_ss(-8 * scale * x.scaled_sums[b]));
    return _mm256_fmadd_ps(as_floats(LLMOS_SET::dot(bytes, load32(x.quants + 32 * b))),
                           _mm256_set1_ps(scale * x.scales[b]),
                           _mm256_zextps128_ps256(_mm256_castps256_ps128(too_much)));
  }
};

struct DotQ5_0 {
  static constexpr size_t streams = 2;

  template <size_t kRows>
  static void dot(const std::byte* const* rows, const ActivationRow& x, size_t columns, float* out) {
    const size_t blocks = columns / 32, whole = blocks / 8 * 8;
    __m256 sum[kRows], other[kRows];
    for (size_t k = 0; k < kRows; k++) sum[k] = other[k] = _mm256_setzero_ps();
    alignas(32) float scale[kRows][8];
    for (size_t b = 0; b < whole; b += 8) {
      const __m256 scales = _mm256_loadu_ps(x.scales + b);
      const __m256 too_much = _mm256_mul_ps(_mm256_loadu_ps(x.scaled_sums + b), _mm256_set1_ps(-16));
      for (size_t k = 0; k < kRows; k++) {
        prefetch<1024, 8 * 22>(rows[k] + 22 * b);
        const __m256 own = eight_scales<22>(rows[k] + 22 * b);
        _mm256_store_ps(scale[k], _mm256_mul_ps(own, scales));
        other[k] = _mm256_fmadd_ps(own, too_much, other[k]);
      }
      for (size_t j = 0; j < 8; j++) {
        const __m256i quants = load32(x.quants + 32 * (b + j));
        for (size_t k = 0; k < kRows; k++) {
          const __m256 products = as_floats(LLMOS_SET::dot(bytes(rows[k] + 22 * (b + j)), quants));
          __m256& target = j % 2 ? other[k] : sum[k];
          target = _mm256_fmadd_ps(products, _mm256_broadcast_ss(&scale[k][j]), target);
        }
      }
    }
    for (size_t k = 0; k < kRows; k++) {
      out[k] = total8(_mm256_add_ps(sum[k], other[k]));
      for (size_t b = whole; b < blocks; b++) {
        const std::byte* p = rows[k] + 22 * b;
        const __m256 products = as_floats(LLMOS_SET::dot(bytes(p), load32(x.quants + 32 * b)));
        out[k] += scale_at(p) * (total8(products) * x.scales[b] - 16 * x.scaled_sums[b]);
      }
    }
  }

  static __m256i bytes(const std::byte* p) {
    uint32_t fifth;
    std::memcpy(&fifth, p + 2, sizeof fifth);
    const __m128i v = load16(p + 6);
    const __m256i nibbles = low_bits(_mm256_set_m128i(_mm_srli_epi16(v, 4), v));
#if defined(__AVX512BW__) && defined(__AVX512VL__)
    return _mm256_mask_add_epi8(nibbles, fifth, nibbles, _mm256_set1_epi8(16));
#else
    const __m256i spread =
        _mm256_shuffle_epi8(_mm256_set1_epi32(static_cast<int>(fifth)),
                            _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0));
    const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
    const __m256i present = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
    return _mm256_or_si256(nibbles, _mm256_and_si256(present, _mm256_set1_epi8(16)));
#endif
  }
};

struct DotQ8_0 {
  static constexpr size_t streams = 4;

  // A weight may be -128. VNNI takes weights + 128 as unsigned, corrected by the sums; AVX2 the weights' magnitudes,
  // their signs moved to the activations, which are never -128.
#if defined(__AVX512VNNI__)
  static constexpr float too_high = 128;
  static __m256i products(__m256i w, __m256i quants) {
    return LLMOS_SET::dot(_mm256_xor_si256(w, _mm256_set1_epi8(-128)), quants);
  }
#else
  static constexpr float too_high = 0;
  static __m256i products(__m256i w, __m256i quants) {
    return LLMOS_SET::dot(_mm256_abs_epi8(w), _mm256_sign_epi8(quants, w));
  }
#endif

  template <size_t kRows>
  static void dot(const std::byte* const* rows, const ActivationRow& x, size_t columns, float* out) {
    const size_t blocks = columns / 32, whole = blocks / 8 * 8;
    __m256 sum[kRows], other[kRows];
    for (size_t k = 0; k < kRows; k++) sum[k] = other[k] = _mm256_setzero_ps();
    alignas(32) float scale[kRows][8];
    for (size_t b = 0; b < whole; b += 8) {
      const __m256 scales = _mm256_loadu_ps(x.scales + b);
      for (size_t k = 0; k < kRows; k++) {
        prefetch<1024, 8 * 34>(rows[k] + 34 * b);
        const __m256 own = eight_scales<34>(rows[k] + 34 * b);
        _mm256_store_ps(scale[k], _mm256_mul_ps(own, scales));
        if constexpr (too_high != 0) {
          const __m256 too_much = _mm256_mul_ps(_mm256_loadu_ps(x.scaled_sums + b), _mm256_set1_ps(-too_high));
          other[k] = _mm256_fmadd_ps(own, too_much, other[k]);
        }
      }
      for (size_t j = 0; j < 8; j++) {
        const __m256i quants = load32(x.quants + 32 * (b + j));
        for (size_t k = 0; k < kRows; k++) {
          __m256& target = kRows == 1 && j % 2 ? other[k] : sum[k];
          const __m256i w = load32(rows[k] + 34 * (b + j) + 2);
          target = _mm256_fmadd_ps(as_floats(products(w, quants)), _mm256_broadcast_ss(&scale[k][j]), target);
        }
      }
    }
    for (size_t k = 0; k < kRows; k++) {
      out[k] = total8(_mm256_add_ps(sum[k], other[k]));
      for (size_t b = whole; b < blocks; b++) {
        const std::byte* p = rows[k] + 34 * b;
        const float own = scale_at(p);
        const __m256 values = as_floats(products(load32(p + 2), load32(x.quants + 32 * b)));
        out[k] += own * (total8(values) * x.scales[b] - too_high * x.scaled_sums[b]);
      }
    }
  }
};

// The first 16 bytes of a Q4_K or Q5_K block: two halves, then 8 scales and 8 minimums of 6 bits. Stores the scales
// times `scales`, and takes the minimums times `scaled_sums` off `sum`.
inline void k_scales(const std::byte* block, __m256 scales, __m256 scaled_sums, float* out, __m256& sum) {
  const __m128i head = load16(block);
  // Dwords: scales 0-3, scales 4-7, minimums 0-3, minimums 4-7; each from six low bits, or from a nibble and the two
  // high bits of another byte.
  const __m128i low = _mm_and_si128(
      _mm_srlv_epi32(_mm_shuffle_epi8(head, _mm_setr_epi8(4, 5, 6, 7, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15)),
                     _mm_setr_epi32(0, 0, 0, 4)),
      _mm_setr_epi32(0x3f3f3f3f, 0x0f0f0f0f, 0x3f3f3f3f, 0x0f0f0f0f));
  const __m128i high = _mm_and_si128(
      _mm_srli_epi16(_mm_shuffle_epi8(head, _mm_setr_epi8(-1, -1, -1, -1, 4, 5, 6, 7, -1, -1, -1, -1, 8, 9, 10, 11)),
                     2),
      _mm_set1_epi8(0x30));
  const __m128i bytes = _mm_or_si128(low, high);
  const __m128 units = _mm_cvtph_ps(head);
  const __m256 small_scales = as_floats(_mm256_cvtepu8_epi32(bytes));
  const __m256 minimums = as_floats(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(bytes, bytes)));
  _mm256_storeu_ps(out, _mm256_mul_ps(_mm256_mul_ps(small_scales, _mm256_broadcastss_ps(units)), scales));
  const __m256 unit = _mm256_broadcastss_ps(_mm_movehdup_ps(units));
  sum = _mm256_fnmadd_ps(_mm256_mul_ps(minimums, unit), scaled_sums, sum);
}

struct DotQ4_K {
  static constexpr size_t streams = 2;

  template <size_t kRows>
  static void dot(const std::byte* const* rows, const ActivationRow& x, size_t columns, float* out) {
    __m256 sum[kRows], other[kRows];
    for (size_t k = 0; k < kRows; k++) sum[k] = other[k] = _mm256_setzero_ps();
    alignas(32) float scale[kRows][8];
    for (size_t s = 0; s < columns / 256; s++) {
      const __m256 scales = _mm256_loadu_ps(x.scales + 8 * s), sums = _mm256_loadu_ps(x.scaled_sums + 8 * s);
      for (size_t k = 0; k < kRows; k++) {
        const std::byte* p = rows[k] + sizeof(BlockQ4_K) * s;
        prefetch<1024, sizeof(BlockQ4_K)>(p);
        k_scales(p, scales, sums, scale[k], other[k]);
      }
      for (size_t j = 0; j < 4; j++) {
        const __m256i even = load32(x.quants + 256 * s + 64 * j), odd = load32(x.quants + 256 * s + 64 * j + 32);
        for (size_t k = 0; k < kRows; k++) {
          const __m256i v = load32(rows[k] + sizeof(BlockQ4_K) * s + 16 + 32 * j);
          const __m256 a = as_floats(LLMOS_SET::dot(low_bits(v), even)),
                       b = as_floats(LLMOS_SET::dot(high_bits(v), odd));
          sum[k] = _mm256_fmadd_ps(a, _mm256_broadcast_ss(&scale[k][2 * j]), sum[k]);
          other[k] = _mm256_fmadd_ps(b, _mm256_broadcast_ss(&scale[k][2 * j + 1]), other[k]);
        }
      }
    }
    for (size_t k = 0; k < kRows; k++) out[k] = total8(_mm256_add_ps(sum[k], other[k]));
  }
};

struct DotQ5_K {
  static constexpr size_t streams = 2;

  template <size_t kRows>
  static void dot(const std::byte* const* rows, const ActivationRow& x, size_t columns, float* out) {
    __m256 sum[kRows], other[kRows];
    for (size_t k = 0; k < kRows; k++) sum[k] = other[k] = _mm256_setzero_ps();
    alignas(32) float scale[kRows][8];
    for (size_t s = 0; s < columns / 256; s++) {
      const __m256 scales = _mm256_loadu_ps(x.scales + 8 * s), sums = _mm256_loadu_ps(x.scaled_sums + 8 * s);
      for (size_t k = 0; k < kRows; k++) {
        const std::byte* p = rows[k] + sizeof(BlockQ5_K) * s;
        prefetch<1024, sizeof(BlockQ5_K)>(p);
        k_scales(p, scales, sums, scale[k], other[k]);
      }
      for (size_t k = 0; k < kRows; k++) {
        const std::byte* p = rows[k] + sizeof(BlockQ5_K) * s;
        __m256i fifth = load32(p + 16);  // after each pair of parts, the next two bits are the lowest
        for (size_t j = 0; j < 4; j++, fifth = _mm256_srli_epi16(fifth, 2)) {
          const __m256i v = load32(p + 48 + 32 * j), sixteen = _mm256_set1_epi8(16);
          const __m256i even = _mm256_or_si256(low_bits(v), _mm256_and_si256(_mm256_slli_epi16(fifth, 4), sixteen));
          const __m256i odd = _mm256_or_si256(high_bits(v), _mm256_and_si256(_mm256_slli_epi16(fifth, 3), sixteen));
          const __m256 a = as_floats(LLMOS_SET::dot(even, load32(x.quants + 256 * s + 64 * j)));
          const __m256 b = as_floats(LLMOS_SET::dot(odd, load32(x.quants + 256 * s + 64 * j + 32)));
          sum[k] = _mm256_fmadd_ps(a, _mm256_broadcast_ss(&scale[k][2 * j]), sum[k]);
          other[k] = _mm256_fmadd_ps(b, _mm256_broadcast_ss(&scale[k][2 * j + 1]), other[k]);
        }
      }
    }
    for (size_t k = 0; k < kRows; k++) out[k] = total8(_mm256_add_ps(sum[k], other[k]));
  }
};

struct DotQ6_K {
  static constexpr size_t streams = 2;

  template <size_t kRows>
  static void dot(const std::byte* const* rows, const ActivationRow& x, size_t columns, float* out) {
    __m256 sum[kRows], other[kRows];
    for (size_t k = 0; k < kRows; k++) sum[k] = other[k] = _mm256_setzero_ps();
    for (size_t s = 0; s < columns / 256; s++) {
      const __m256 scales = _mm256_loadu_ps(x.scales + 8 * s);
      for (size_t half = 0; half < 2; half++) {
        // Of each part of 16: the activations' scale, and their sum times scale times -32.
        const __m256i twice =
            half ? _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7) : _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3);
        const __m256 part_scales = _mm256_permutevar8x32_ps(scales, twice);
        const __m256 sums = as_floats(load32(x.sums + 16 * s + 8 * half));
        const __m256 too_much = _mm256_mul_ps(_mm256_mul_ps(sums, part_scales), _mm256_set1_ps(-32));
        for (size_t k = 0; k < kRows; k++) {
          const std::byte* p = rows[k] + sizeof(BlockQ6_K) * s;
          if (half == 0) prefetch<1024, sizeof(BlockQ6_K)>(p);
          const __m128i small = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 192 + 8 * half));
          const __m256 own = _mm256_mul_ps(as_floats(_mm256_cvtepi8_epi32(small)), _mm256_set1_ps(scale_at(p + 208)));
          const __m256 scale = _mm256_mul_ps(own, part_scales);
          other[k] = _mm256_fmadd_ps(own, too_much, other[k]);
          half_block(p, half, x.quants + 256 * s + 128 * half, scale, sum[k], other[k]);
        }
      }
    }
    for (size_t k = 0; k < kRows; k++) out[k] = total8(_mm256_add_ps(sum[k], other[k]));
  }

  static void half_block(const std::byte* p, size_t half, const int8_t* quants, __m256 scale, __m256& sum,
                         __m256& other) {
    const __m256i a = load32(p + 64 * half), b = load32(p + 64 * half + 32), high = load32(p + 128 + 32 * half);
    const __m256i two = _mm256_set1_epi8(0x30);
    const __m256i q0 = _mm256_or_si256(low_bits(a), _mm256_and_si256(_mm256_slli_epi16(high, 4), two));
    const __m256i q1 = _mm256_or_si256(low_bits(b), _mm256_and_si256(_mm256_slli_epi16(high, 2), two));
    const __m256i q2 = _mm256_or_si256(high_bits(a), _mm256_and_si256(high, two));
    const __m256i q3 = _mm256_or_si256(high_bits(b), _mm256_and_si256(_mm256_srli_epi16(high, 2), two));
    const auto parts = [&](int first) {  // scales of two neighbouring parts, four lanes each
      return _mm256_permutevar8x32_ps(
          scale, _mm256_setr_epi32(first, first, first, first, first + 1, first + 1, first + 1, first + 1));
    };
    sum = _mm256_fmadd_ps(as_floats(LLMOS_SET::dot(q0, load32(quants))), parts(0), sum);
    other = _mm256_fmadd_ps(as_floats(LLMOS_SET::dot(q1, load32(quants + 32))), parts(2), other);
    sum = _mm256_fmadd_ps(as_floats(LLMOS_SET::dot(q2, load32(quants + 64))), parts(4), sum);
    other = _mm256_fmadd_ps(as_floats(LLMOS_SET::dot(q3, load32(quants + 96))), parts(6), other);
  }
};

}  // namespace llmos::core::LLMOS_SET
