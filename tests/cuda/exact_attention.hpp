// SPDX-License-Identifier: MIT
// Attention in double precision.
#pragma once

#include "cuda/matrices.hpp"

namespace llmos::test {

struct AttentionCase {
  size_t heads, kv_heads, head_size;
  size_t window = SIZE_MAX;
  float soft_cap = 0;
  core::CacheType type = core::CacheType::f16;
  float query_size = 2;

  float scale() const { return 2 / query_size / std::sqrt(static_cast<float>(head_size)); }
};

// A sequence: its positions, and how many of them, the last, are in the batch that attends.
struct Stretch {
  size_t positions, tokens;
};

// What one head of one of the batch's tokens makes of the keys and values of all positions.
inline std::vector<double> exact_attention(const AttentionCase& c, const Stretch& stretch, const Floats& keys,
                                           const Floats& values, const Floats& query, size_t token, size_t head) {
  const size_t width = c.kv_heads * c.head_size, kv = head / (c.heads / c.kv_heads) * c.head_size;
  const size_t position = stretch.positions - stretch.tokens + token;
  const size_t first = position + 1 > c.window ? position + 1 - c.window : 0;
  std::vector<double> out(c.head_size);
  double sum = 0;
  for (size_t p = first; p <= position; p++) {
    double score = 0;
    for (size_t d = 0; d < c.head_size; d++)
      score += double{query[(token * c.heads + head) * c.head_size + d]} * keys[p * width + kv + d];
    score *= c.scale();
    if (c.soft_cap > 0) score = c.soft_cap * std::tanh(score / c.soft_cap);
    const double weight = std::exp(score);
    sum += weight;
    for (size_t d = 0; d < c.head_size; d++) out[d] += weight * values[p * width + kv + d];
  }
  for (double& value : out) value /= sum;
  return out;
}

}  // namespace llmos::test
