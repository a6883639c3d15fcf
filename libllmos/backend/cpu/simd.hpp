// SPDX-License-Identifier: MIT
// The vector of floats of the instruction set that the including translation unit is compiled for. Everything here and
// in the kernel headers lives in a namespace named after the set: equal names compiled with different flags never meet.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "backend/cpu/blocks.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if (defined(__AMX_BF16__) || defined(__AMXBF16__)) && defined(__AVX512BF16__)  // clang up to 16 has the other name
#define LLMOS_SET amx
#elif defined(__AVX512F__) && defined(__AVX512VNNI__)
#define LLMOS_SET avx512
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define LLMOS_SET avx2
#else
#define LLMOS_SET portable
#endif

namespace llmos::core::LLMOS_SET {

#if defined(__AVX512F__) && defined(__AVX512VNNI__)

using Float = __m512;
using Int = __m512i;  // 32-bit lanes
inline constexpr size_t lanes = 16;
inline Float load(const float* p) { return _mm512_loadu_ps(p); }
inline void store(float* p, Float v) { _mm512_storeu_ps(p, v); }
inline Float set(float x) { return _mm512_set1_ps(x); }
inline Float multiply_add(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
inline Float larger(Float a, Float b) { return _mm512_max_ps(a, b); }
inline Float smaller(Float a, Float b) { return _mm512_min_ps(a, b); }
inline Float magnitude(Float a) { return _mm512_abs_ps(a); }
inline float total(Float v) { return _mm512_reduce_add_ps(v); }
inline float largest(Float v) { return _mm512_reduce_max_ps(v); }
inline Int round_to_int(Float v) { return _mm512_cvtps_epi32(v); }
inline Float to_float(Int v) { return _mm512_cvtepi32_ps(v); }
inline Float power_of_two(Int n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
}
inline Float load_half(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline void store_half(uint16_t* p, Float v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, 0));
}
inline Float load_bfloat(const uint16_t* p) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16));
}
inline Float load_bytes(const int8_t* p) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)

using Float = __m256;
using Int = __m256i;
inline constexpr size_t lanes = 8;
inline Float load(const float* p) { return _mm256_loadu_ps(p); }
inline void store(float* p, Float v) { _mm256_storeu_ps(p, v); }
inline Float set(float x) { return _mm256_set1_ps(x); }
inline Float multiply_add(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
inline Float larger(Float a, Float b) { return _mm256_max_ps(a, b); }
inline Float smaller(Float a, Float b) { return _mm256_min_ps(a, b); }
inline Float magnitude(Float a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
inline float total(Float v) {
  __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  x = _mm_add_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
inline float largest(Float v) {
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}
inline Int round_to_int(Float v) { return _mm256_cvtps_epi32(v); }
inline Float to_float(Int v) { return _mm256_cvtepi32_ps(v); }
inline Float power_of_two(Int n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
inline Float load_half(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline void store_half(uint16_t* p, Float v) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, 0)); }
inline Float load_bfloat(const uint16_t* p) {
  return _mm256_castsi256_ps(
      _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
}
inline Float load_bytes(const int8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}

#else

// Four lanes by the compiler's own vectors: SSE2, NEON, or whatever the target has.
typedef float Float __attribute__((vector_size(16)));
typedef int32_t Int __attribute__((vector_size(16)));
inline constexpr size_t lanes = 4;
inline Float load(const float* p) {
  Float v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store(float* p, Float v) { std::memcpy(p, &v, sizeof v); }
inline Float set(float x) { return Float{x, x, x, x}; }
inline Float multiply_add(Float a, Float b, Float c) { return a * b + c; }
inline Float larger(Float a, Float b) { return a > b ? a : b; }
inline Float smaller(Float a, Float b) { return a < b ? a : b; }
inline Float magnitude(Float a) { return a < 0 ? -a : a; }
inline float total(Float v) { return (v[0] + v[2]) + (v[1] + v[3]); }
inline float largest(Float v) { return std::fmax(std::fmax(v[0], v[2]), std::fmax(v[1], v[3])); }
inline Int round_to_int(Float v) {
  const Float shift = set(0x1.8p23f);  // adding it leaves the integer, rounded to even, in the low mantissa bits
  return reinterpret_cast<Int>(v + shift) - reinterpret_cast<Int>(shift);
}
inline Float to_float(Int v) { return __builtin_convertvector(v, Float); }
inline Float power_of_two(Int n) { return reinterpret_cast<Float>((n + 127) << 23); }
inline Float load_half(const uint16_t* p) {
  return Float{half_to_float(p[0]), half_to_float(p[1]), half_to_float(p[2]), half_to_float(p[3])};
}
inline void store_half(uint16_t* p, Float v) {
  for (size_t i = 0; i < lanes; i++) p[i] = float_to_half(v[i]);
}
inline Float load_bfloat(const uint16_t* p) {
  return Float{bfloat_to_float(p[0]), bfloat_to_float(p[1]), bfloat_to_float(p[2]), bfloat_to_float(p[3])};
}
inline Float load_bytes(const int8_t* p) {
  return Float{static_cast<float>(p[0]), static_cast<float>(p[1]), static_cast<float>(p[2]), static_cast<float>(p[3])};
}

#endif

inline Float zero() { return set(0.0f); }

inline float half(uint16_t bits) {
#if defined(__F16C__)
  return _cvtsh_ss(bits);
#else
  return half_to_float(bits);
#endif
}

// e^x to about two units in the last place. Below -87 the result is 0 or nearly; above 88 it stays finite.
inline Float exponential(Float x) {
  x = smaller(larger(x, set(-87.5f)), set(88.0f));
  const Int n = round_to_int(x * set(1.44269504f));
  const Float whole = to_float(n);
  Float r = multiply_add(whole, set(-0.693359375f), x);  // ln 2 in two parts
  r = multiply_add(whole, set(2.12194440e-4f), r);
  Float p = set(1.9875691500e-4f);
  p = multiply_add(p, r, set(1.3981999507e-3f));
  p = multiply_add(p, r, set(8.3334519073e-3f));
  p = multiply_add(p, r, set(4.1665795894e-2f));
  p = multiply_add(p, r, set(1.6666665459e-1f));
  p = multiply_add(p, r, set(5.0000001201e-1f));
  p = multiply_add(p * r, r, r + set(1.0f));
  return p * power_of_two(n);
}

// 1 - 2 / (e^2x + 1)
inline Float hyperbolic_tangent(Float x) { return set(1.0f) - set(2.0f) / (exponential(x + x) + set(1.0f)); }

// Applies `body` to whole vectors, then once more to a zero-filled copy of the rest: a kernel written for vectors works
// for any count. `body` takes and returns a vector.
template <typename Body>
inline void for_each(const float* x, float* out, size_t count, Body body) {
  size_t i = 0;
  for (; i + lanes <= count; i += lanes) store(out + i, body(load(x + i), i));
  if (i == count) return;
  float rest[lanes] = {};
  std::memcpy(rest, x + i, (count - i) * sizeof(float));
  store(rest, body(load(rest), i));
  std::memcpy(out + i, rest, (count - i) * sizeof(float));
}

}  // namespace llmos::core::LLMOS_SET
