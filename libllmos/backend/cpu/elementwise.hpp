// SPDX-License-Identifier: MIT
// Operations on rows of activations: quantisation, norm, gate, soft cap. Included once per instruction set.
#pragma once

#include "backend/cpu/kernels.hpp"
#include "backend/cpu/simd.hpp"

namespace llmos::core::LLMOS_SET {

// Where value i of a row goes in the `split` order: the set's 4-bit kernels read `split_blocks` blocks at once, first
// all their low halves (values 0..15), then all their high halves.
#if defined(__AVX512F__) && defined(__AVX512VNNI__)
inline constexpr size_t split_blocks = 4;
#else
inline constexpr size_t split_blocks = 2;
#endif

inline void quantize(const float* x, size_t columns, const QuantizedRow& out) {
  for (size_t block = 0; block < columns / quant_block; block++) {
    const float* source = x + block * quant_block;
    Float peak = zero();
    for (size_t i = 0; i < quant_block; i += lanes) peak = larger(peak, magnitude(load(source + i)));
    const float scale = largest(peak) / 127.0f;
    const Float inverse = set(scale > 0 ? 1.0f / scale : 0.0f);
    int8_t* quants = out.quants + block * quant_block;
    int32_t rounded[quant_block];
    for (size_t i = 0; i < quant_block; i += lanes) {
      const Int part = round_to_int(load(source + i) * inverse);
      std::memcpy(rounded + i, &part, sizeof part);
    }
    out.scales[block] = scale;
    for (size_t i = 0; i < quant_block; i++) quants[i] = static_cast<int8_t>(rounded[i]);
    for (size_t half = 0; half < 2; half++) {
      int32_t sum = 0;
      for (size_t i = 0; i < 16; i++) sum += rounded[half * 16 + i];
      out.sums[2 * block + half] = sum;
    }
    int8_t* group = out.split + block / split_blocks * split_blocks * quant_block + block % split_blocks * 16;
    std::memcpy(group, quants, 16);
    std::memcpy(group + split_blocks * 16, quants + 16, 16);
  }
}

inline void norm(const float* x, const float* weight, size_t columns, float epsilon, float* out) {
  Float squares = zero();
  size_t i = 0;
  for (; i + lanes <= columns; i += lanes) squares = multiply_add(load(x + i), load(x + i), squares);
  float sum = total(squares);
  for (; i < columns; i++) sum += x[i] * x[i];
  const float scale = 1.0f / std::sqrt(sum / static_cast<float>(columns) + epsilon);
  for (i = 0; i + lanes <= columns; i += lanes) store(out + i, load(x + i) * set(scale) * load(weight + i));
  for (; i < columns; i++) out[i] = x[i] * scale * weight[i];
}

inline Float silu(Float x) { return x / (set(1.0f) + exponential(zero() - x)); }

inline Float gelu(Float x) {
  const Float inner = set(0.7978845608f) * x * multiply_add(x * x, set(0.044715f), set(1.0f));
  return set(0.5f) * x * (set(1.0f) + hyperbolic_tangent(inner));
}

inline void gate(const float* x, const float* up, size_t count, Activation kind, float* out) {
  if (kind == Activation::silu)
    for_each(x, out, count, [](Float v, size_t) { return silu(v); });
  else
    for_each(x, out, count, [](Float v, size_t) { return gelu(v); });
  for (size_t i = 0; i < count; i++) out[i] *= up[i];
}

inline void soft_cap(float* x, size_t count, float cap) {
  for_each(x, x, count, [cap](Float v, size_t) { return set(cap) * hyperbolic_tangent(v * set(1.0f / cap)); });
}

}  // namespace llmos::core::LLMOS_SET
