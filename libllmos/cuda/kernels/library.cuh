// SPDX-License-Identifier: MIT
// What stands before and behind a product that cuBLASLt makes: activations in numbers of 16 bits (see also halve()),
// and what a product has besides its sums.
#pragma once

#include "cuda/kernels/device.cuh"

namespace llmos::cuda {

DEVICE uint16_t float_to_brain(float value) {
  const uint32_t bits = float_to_bits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);  // not a number
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// A block a token: each number as a brain float, and what that leaves of it as another; zeros up to the stride. The two
// have 16 bits of its mantissa, twice what one has.
DEVICE void split(const SplitArguments& a) {
  const float* x = a.x + static_cast<size_t>(blockIdx.x) * a.columns;
  const size_t begin = static_cast<size_t>(blockIdx.x) * a.stride;
  for (unsigned i = threadIdx.x; i < a.stride; i += row_threads) {
    const float value = i < a.columns ? x[i] : 0.0f;
    const uint16_t high = float_to_brain(value);
    a.high[begin + i] = high;
    a.low[begin + i] = float_to_brain(value - bits_to_float(static_cast<uint32_t>(high) << 16));
  }
}

// Blocks of a token: its scale and the rows' biases, or the gated product of its sums and those of `up`.
DEVICE void finish(const FinishArguments& a) {
  const float scale = a.scales ? a.scales[blockIdx.x] : 1.0f;
  const size_t begin = static_cast<size_t>(blockIdx.x) * a.out_stride;
  for (unsigned row = blockIdx.y * row_threads + threadIdx.x; row < a.rows; row += gridDim.y * row_threads) {
    float value = a.out[begin + row] * scale;
    if (a.up)
      value = activate(value, a.activation) * (a.up[begin + row] * scale);
    else if (a.bias)
      value += a.bias[row];
    a.out[begin + row] = value;
  }
}

}  // namespace llmos::cuda
