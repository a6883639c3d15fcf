// SPDX-License-Identifier: MIT
// Operations on rows of activations. Element-wise ones take a thread an element.
#pragma once

#include "cuda/kernels/device.cuh"

namespace llmos::cuda {

DEVICE size_t element() { return static_cast<size_t>(blockIdx.x) * row_threads + threadIdx.x; }

// A block a row; out may be x.
DEVICE void norm(const NormArguments& a) {
  const float* x = a.x + static_cast<size_t>(blockIdx.x) * a.columns;
  float* out = a.out + static_cast<size_t>(blockIdx.x) * a.columns;
  float squares = 0;
  for (unsigned i = threadIdx.x; i < a.columns; i += blockDim.x) squares += x[i] * x[i];
  const float scale = reciprocal_root(block_sum(squares) / static_cast<float>(a.columns) + a.epsilon);
  for (unsigned i = threadIdx.x; i < a.columns; i += blockDim.x) out[i] = x[i] * scale * a.weight[i];
}

// A block a row, a thread a pair of components.
DEVICE void rotate(const RotateArguments& a) {
  float* row = a.x + static_cast<size_t>(blockIdx.x) * a.heads * a.head_size;
  const float* angles = a.angles + static_cast<size_t>(blockIdx.x) * a.pairs * 2;
  for (unsigned i = threadIdx.x; i < a.heads * a.pairs; i += row_threads) {
    const unsigned pair = i % a.pairs;
    float* head = row + i / a.pairs * a.head_size;
    float& first = head[a.interleaved ? 2 * pair : pair];
    float& second = head[a.interleaved ? 2 * pair + 1 : pair + a.pairs];
    const float cosine = angles[2 * pair], sine = angles[2 * pair + 1], before = first;
    first = before * cosine - second * sine;
    second = before * sine + second * cosine;
  }
}

DEVICE void gate(const GateArguments& a) {
  const size_t i = element();
  if (i < a.count) a.x[i] = activate(a.x[i], a.activation) * a.up[i];
}

DEVICE void add(const AddArguments& a) {
  const size_t i = element();
  if (i < a.count) a.x[i] += a.delta[i];
}

DEVICE void soft_cap(const SoftCapArguments& a) {
  const size_t i = element();
  if (i < a.count) a.x[i] = a.cap * tanhf(a.x[i] / a.cap);
}

// A block a row of the result.
DEVICE void gather(const GatherArguments& a) {
  const float* from = a.x + static_cast<size_t>(a.rows[blockIdx.x]) * a.columns;
  float* to = a.out + static_cast<size_t>(blockIdx.x) * a.columns;
  for (unsigned i = threadIdx.x; i < a.columns; i += row_threads) to[i] = from[i];
}

}  // namespace llmos::cuda
