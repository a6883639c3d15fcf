// SPDX-License-Identifier: MIT
// The forward pass: tokens in, hidden states and logits out. One Forward belongs to one engine; not thread-safe.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "backend/backend.hpp"
#include "model/config.hpp"
#include "model/weights.hpp"

namespace llmos::core {

class Forward {
 public:
  // Rows whose logits are computed at once: one takes as much room as the vocabulary.
  static constexpr size_t output_rows = 16;

  // Reserves activations for batches of up to `capacity` tokens. The references must outlive the Forward.
  Forward(Backend& backend, const Config& config, const Weights& weights, const CacheLayout& layout, size_t capacity);

  size_t capacity() const { return capacity_; }

  // Runs a batch through all layers; keys and values go to the runs' pages. `proceed` is asked before each layer; when
  // it says no the pass ends with ECANCELED and the positions of the batch hold nothing.
  void run(std::span<const int32_t> tokens, std::span<const Run> runs, const std::function<bool()>& proceed);

  // Of rows of the last batch: the final hidden states, rows.size() x width floats, or the logits, rows.size() x
  // vocabulary floats, written to host memory.
  void states(std::span<const uint32_t> rows, float* out);
  void logits(std::span<const uint32_t> rows, float* out);

 private:
  void layer(size_t index, std::span<const Run> runs);
  void set_angles(std::span<const Run> runs);
  Matrix final_norm(std::span<const uint32_t> rows);
  Matrix buffer(size_t rows, size_t columns);

  Backend& backend_;
  const Config& config_;
  const Weights& weights_;
  const CacheLayout& layout_;
  size_t capacity_;
  size_t rows_ = 0;  // of the last batch

  std::vector<Memory> memory_;
  Matrix hidden_, normed_, query_, key_, value_, attended_, projected_, gate_, up_, angles_, local_angles_, logits_;
  std::vector<float> angle_values_;
};

}  // namespace llmos::core
