// SPDX-License-Identifier: MIT
// Squares of 32-bit lanes turned over, as many vectors as a vector has lanes. Included once per vector instruction set.
#pragma once

#include "backend/cpu/simd.hpp"

namespace llmos::core::LLMOS_SET {

#if defined(__AVX512F__)

inline void transpose(Int (&v)[16]) {
  Int t[16];
  for (int i = 0; i < 16; i += 2) {  // pairs of lanes
    t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {  // fours: v[i + k] has lanes k, k + 4, k + 8, k + 12 of rows i..i + 3
    v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int k = 0; k < 4; k++) {  // quarters of the vectors
    const Int a = _mm512_shuffle_i32x4(v[k], v[k + 4], 0x88), b = _mm512_shuffle_i32x4(v[k], v[k + 4], 0xdd);
    const Int c = _mm512_shuffle_i32x4(v[k + 8], v[k + 12], 0x88), d = _mm512_shuffle_i32x4(v[k + 8], v[k + 12], 0xdd);
    t[k] = _mm512_shuffle_i32x4(a, c, 0x88);
    t[k + 4] = _mm512_shuffle_i32x4(b, d, 0x88);
    t[k + 8] = _mm512_shuffle_i32x4(a, c, 0xdd);
    t[k + 12] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
  for (int i = 0; i < 16; i++) v[i] = t[i];
}

inline Int load_lanes(const void* p) { return _mm512_loadu_si512(p); }
inline void store_lanes(void* p, Int v) { _mm512_storeu_si512(p, v); }
inline Int as_lanes(Float v) { return _mm512_castps_si512(v); }

#else

inline void transpose(Int (&v)[8]) {
  Int t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_epi32(v[i], v[i + 1]);
    t[i + 1] = _mm256_unpackhi_epi32(v[i], v[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {  // v[i + k] has lanes k, k + 4 of rows i..i + 3
    v[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
    v[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
    v[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
    v[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int k = 0; k < 4; k++) {
    t[k] = _mm256_permute2x128_si256(v[k], v[k + 4], 0x20);
    t[k + 4] = _mm256_permute2x128_si256(v[k], v[k + 4], 0x31);
  }
  for (int i = 0; i < 8; i++) v[i] = t[i];
}

inline Int load_lanes(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void store_lanes(void* p, Int v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }
inline Int as_lanes(Float v) { return _mm256_castps_si256(v); }

#endif

}  // namespace llmos::core::LLMOS_SET
