// SPDX-License-Identifier: MIT
// The weights of a model, by role. Matrices stay in the model's file; only norms and biases, one short vector each, are
// copied into the backend's memory as floats.
#pragma once

#include <vector>

#include "backend/backend.hpp"
#include "format/gguf.hpp"
#include "model/config.hpp"

namespace llmos::core {

struct LayerWeights {
  TensorView query, key, value, out;  // attention
  TensorView gate, up, down;          // feed-forward
  const float *attention_norm, *feed_forward_norm;
  // What only some architectures have; nullptr elsewhere.
  const float *query_bias, *key_bias, *value_bias, *out_bias;
  const float *query_norm, *key_norm;  // of each head
  const float *attention_post_norm, *feed_forward_post_norm;
};

struct Weights {
  TensorView embedding, output;  // output is the embedding where the model ties them
  const float* output_norm;
  std::vector<LayerWeights> layers;
  Memory vectors;  // owns the norms and biases
};

// Finds every weight and checks its shape. ENOENT or EBADMSG name the tensor; the file must outlive the result.
Weights read_weights(const Gguf& gguf, const Config& config, Backend& backend);

}  // namespace llmos::core
