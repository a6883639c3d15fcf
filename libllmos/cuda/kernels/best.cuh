// SPDX-License-Identifier: MIT
// The best logits of a row. Each block takes a part of the row and gives out its best in order; passes go on over what
// they gave out until one part is left.
//
// Logits are compared as keys: whole numbers in the same order, the token in the low half so that of equals the lower
// one is ahead. No two tokens have the same key.
#pragma once

#include "cuda/kernels/device.cuh"

namespace llmos::cuda {

DEVICE uint64_t key_of(float logit, unsigned token) {
  if (!(logit < INFINITY)) return unsound_key;
  if (logit == -INFINITY) return impossible_key;
  const uint32_t bits = float_to_bits(logit == 0 ? 0.0f : logit);  // there are two zeros, and they are equal
  const uint32_t ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
  return static_cast<uint64_t>(ordered) << 32 | (0xffffffffu - token);
}

DEVICE uint64_t warp_max(uint64_t value) {
  UNROLL
  for (int bits = 16; bits; bits >>= 1) {
    const uint64_t other = __shfl_xor_sync(all_lanes, value, bits);
    if (other > value) value = other;
  }
  return value;
}

// Every round the highest of all threads' highest keys is given out, and its owner goes on to its next.
template <typename Read>
DEVICE void best(const BestArguments& a, const Read& read) {
  constexpr unsigned warps = row_threads / warp_lanes;
  SHARED(uint64_t, tops, 2 * warps);
  uint64_t keys[best_part / row_threads], top = impossible_key;
  UNROLL
  for (unsigned i = 0; i < best_part / row_threads; i++) {
    const unsigned index = blockIdx.x * best_part + i * row_threads + threadIdx.x;
    keys[i] = index < a.columns ? read(index) : impossible_key;
    if (keys[i] > top) top = keys[i];
  }
  uint64_t* out = a.out + (static_cast<size_t>(blockIdx.y) * gridDim.x + blockIdx.x) * a.count;
  for (unsigned round = 0; round < a.count; round++) {
    uint64_t* side = tops + round % 2 * warps;  // the other one may still be read
    const uint64_t of_warp = warp_max(top);
    if (threadIdx.x % warp_lanes == 0) side[threadIdx.x / warp_lanes] = of_warp;
    __syncthreads();
    uint64_t highest = side[0];
    for (unsigned w = 1; w < warps; w++)
      if (side[w] > highest) highest = side[w];
    if (threadIdx.x == 0) out[round] = highest;
    if (top != highest) continue;
    top = impossible_key;
    UNROLL
    for (unsigned i = 0; i < best_part / row_threads; i++) {
      if (keys[i] == highest) keys[i] = impossible_key;
      if (keys[i] > top) top = keys[i];
    }
  }
}

DEVICE void best_of_logits(const BestArguments& a) {
  const float* row = a.logits + static_cast<size_t>(blockIdx.y) * a.columns;
  best(a, [&](unsigned i) { return key_of(row[i], i); });
}

DEVICE void best_of_keys(const BestArguments& a) {
  const uint64_t* row = a.keys + static_cast<size_t>(blockIdx.y) * a.columns;
  best(a, [&](unsigned i) { return row[i]; });
}

// A block for a part of a row, as in the first pass. Weights in double precision would take a GPU much longer, and are
// needed only to about six digits (see rest_error in text/candidate.hpp); their sum loses none.
DEVICE void rest_of_logits(const RestArguments& a) {
  const float* row = a.logits + static_cast<size_t>(blockIdx.y) * a.columns;
  const uint64_t* best = a.best + static_cast<size_t>(blockIdx.y) * a.count;
  const float highest = best[0] == impossible_key ? 0.0f : row[0xffffffffu - static_cast<uint32_t>(best[0])];
  double sum = 0;
  UNROLL
  for (unsigned i = 0; i < best_part / row_threads; i++) {
    const unsigned index = blockIdx.x * best_part + i * row_threads + threadIdx.x;
    if (index < a.columns && key_of(row[index], index) < best[a.count - 1])
      sum += static_cast<double>(expf(row[index] - highest));
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) a.sums[static_cast<size_t>(blockIdx.y) * gridDim.x + blockIdx.x] = sum;
  if (blockIdx.x > 0) return;
  for (unsigned i = threadIdx.x; i < a.count; i += row_threads)
    a.again[static_cast<size_t>(blockIdx.y) * a.count + i] = best[i];
}

}  // namespace llmos::cuda
