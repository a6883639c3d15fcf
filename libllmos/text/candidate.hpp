// SPDX-License-Identifier: MIT
// A token that a sampler may choose, and how few of them may be enough.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace llmos::core {

struct Candidate {
  float logit;
  int32_t token;
};

// What is to be found of a row's logits.
struct BestWanted {
  size_t count = 0;   // as many of the best, at most most_best; 0: all logits are needed
  bool rest = false;  // and what the others weigh
};
inline constexpr size_t most_best = 128;

// The best logits of a row, best first, of equals the lower token; fewer than wanted where only these are possible.
// None of them is NaN or infinite.
struct BestLogits {
  std::span<const Candidate> candidates;
  double rest = 0;  // where wanted: the sum of e^(logit - the best) over all others, right to rest_error of itself
};
// Of floats: 2 units in the last place of the power, and half a one of its exponent, which is below 90 where the power
// is above 0.
inline constexpr double rest_error = 0x1p-17;

}  // namespace llmos::core
