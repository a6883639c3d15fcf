// SPDX-License-Identifier: MIT
// Operations on rows of activations: quantisation, norm, gate, soft cap. Included once per instruction set.
#pragma once

#include "backend/cpu/kernels.hpp"
#include "backend/cpu/simd.hpp"

namespace llmos::core::LLMOS_SET {

// The `split` order of groups of 8 blocks, as the 256-bit kernels meet them: blocks j and j + 4 side by side, first
// their low halves (values 0..15), then their high halves.
inline int8_t* split_place(int8_t* split, size_t block) {
  const size_t group = block / 8, j = block % 4, side = block % 8 / 4;
  return split + group * 256 + j * 64 + side * 16;
}

inline void quantize(const ActivationRow& row, size_t columns) {
  for (size_t block = 0; block < columns / quant_block; block++) {
    const float* source = row.values + block * quant_block;
    Float peak = zero();
    for (size_t i = 0; i < quant_block; i += lanes) peak = larger(peak, magnitude(load(source + i)));
    const float scale = largest(peak) / 127.0f;
    const Float inverse = set(scale > 0 ? 1.0f / scale : 0.0f);
    int32_t rounded[quant_block];
    for (size_t i = 0; i < quant_block; i += lanes) {
      const Int part = round_to_int(load(source + i) * inverse);
      std::memcpy(rounded + i, &part, sizeof part);
    }
    int8_t* quants = row.quants + block * quant_block;
    for (size_t i = 0; i < quant_block; i++) quants[i] = static_cast<int8_t>(rounded[i]);
    int32_t* sums = row.sums + 2 * block;
    for (size_t half = 0; half < 2; half++) {
      sums[half] = 0;
      for (size_t i = 0; i < 16; i++) sums[half] += rounded[half * 16 + i];
    }
    row.scales[block] = scale;
    row.scaled_sums[block] = scale * static_cast<float>(sums[0] + sums[1]);
    int8_t* place = split_place(row.split, block);
    std::memcpy(place, quants, 16);
    std::memcpy(place + 32, quants + 16, 16);
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
