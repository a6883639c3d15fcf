// SPDX-License-Identifier: MIT
// Frequencies and angles of rotary position embeddings, with the scalings that stretch a model's context.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "format/tensor.hpp"
#include "model/config.hpp"

namespace llmos::core {

struct RopeScaling {
  enum class Kind { none, linear, yarn } kind = Kind::none;
  double factor = 1;            // how many times longer the context is
  double original_context = 0;  // yarn
  double beta_fast = 32, beta_slow = 1;
  double attention_factor = 1;
};

// Fills frequencies and magnitude. `factors` divide the frequencies one by one (Llama 3's scaling comes so); empty:
// none.
void set_frequencies(Rope& rope, double base, const RopeScaling& scaling, std::span<const float> factors);

// Cosine and sine of every frequency at `position`, interleaved: rope.components floats.
void rope_angles(const Rope& rope, size_t position, float* out);

}  // namespace llmos::core
