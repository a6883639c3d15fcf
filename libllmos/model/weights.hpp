// SPDX-License-Identifier: MIT
// The weights of a model, by role. Matrices stay in the model's file; only norms and biases, one short vector each, are
// copied into the backend's memory as floats.
#pragma once

#include <vector>

#include "backend/backend.hpp"
#include "format/gguf.hpp"
#include "model/config.hpp"

namespace llmos::core {

// Consecutive layers of a model, and whether what comes before the first and after the last is with them.
struct Part {
  size_t first, last;    // layers [first, last)
  bool embeds, answers;  // has the embedding; has the output

  size_t layers() const { return last - first; }
};

struct LayerWeights {
  TensorView query, key, value, out;  // attention
  TensorView gate, up, down;          // feed-forward
  const float *attention_norm, *feed_forward_norm;
  // What only some architectures have; nullptr elsewhere.
  const float *query_bias, *key_bias, *value_bias, *out_bias;
  const float *query_norm, *key_norm;  // of each head
  const float *attention_post_norm, *feed_forward_post_norm;
};

struct Weights {                 // of a part
  TensorView embedding, output;  // output is the embedding where the model ties them
  const float* output_norm = nullptr;
  std::vector<LayerWeights> layers;
  Memory vectors;  // owns the norms and biases
};

// The weights of a part, found and not yet in any backend's memory.
class WantedWeights {
 public:
  // Finds every weight and checks its shape. ENOENT or EBADMSG name the tensor; the file must outlive the result.
  WantedWeights(const Gguf& gguf, const Config& config, const Part& part);
  WantedWeights(const WantedWeights&) = delete;
  WantedWeights& operator=(const WantedWeights&) = delete;

  Demand demand(const Backend& backend) const;  // what place() takes of the backend's memory
  Weights place(Backend& backend);              // once

 private:
  struct Matrix {
    TensorView tensor, *place;
  };
  struct Vector {
    TensorView tensor;
    const float** place;
    size_t offset;  // in floats
  };

  TensorView find(const std::string& name, size_t columns, size_t rows) const;
  void matrix(const std::string& name, size_t columns, size_t rows, TensorView& place);
  void vector(const std::string& name, size_t size, const float*& place);
  void optional_vector(const std::string& name, size_t size, const float*& place);
  void layer(const Config& config, size_t index, LayerWeights& layer);
  size_t matrix_bytes(const Backend& backend) const;

  const Gguf& gguf_;
  Weights weights_;
  std::vector<Matrix> matrices_;
  std::vector<Vector> vectors_;
  size_t floats_ = 0;  // of all vectors
  bool tied_ = false;  // the output is the embedding, which this part has
};

}  // namespace llmos::core
