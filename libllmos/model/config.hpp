// SPDX-License-Identifier: MIT
// What a model is, apart from its weights: an architecture is these numbers and choices, not code of its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "backend/types.hpp"
#include "format/gguf.hpp"

namespace llmos::core {

// Rotary position embedding of a kind of layer.
struct Rope {
  size_t components = 0;           // of a head that are rotated
  bool interleaved = false;        // rotates neighbours (2i, 2i + 1); otherwise i with i + components / 2
  std::vector<float> frequencies;  // radians per position, components / 2
  float magnitude = 1;             // of the rotated vector (YaRN lengthens it)
};

struct Config {
  std::string architecture;
  size_t layers, width, hidden;  // hidden: of the feed-forward part
  size_t heads, kv_heads, head_size;
  size_t vocabulary;
  size_t context;  // positions the model was trained for
  float norm_epsilon;
  Activation activation = Activation::silu;

  float embedding_scale = 1;
  float attention_scale;
  float attention_cap = 0, output_cap = 0;  // soft caps of scores and logits; 0: none

  Rope rope, local_rope;     // of global layers and of layers with a window
  size_t window = SIZE_MAX;  // positions that a local layer sees
  size_t global_every = 1;   // layers n - 1, 2n - 1, … are global, the others local; 0: all are local

  bool is_local(size_t layer) const { return global_every == 0 || (layer + 1) % global_every != 0; }
  size_t window_of(size_t layer) const { return is_local(layer) ? window : SIZE_MAX; }
};

// Reads the configuration of a model file. Fails with ENOTSUP for an architecture llmos does not know (the message
// lists those it does), with ENOENT or EBADMSG for keys that are missing or contradict one another.
Config read_config(const Gguf& gguf);

}  // namespace llmos::core
