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

  // Runs a batch through all layers; keys and values go to the runs' pages. Logits of the batch's outputs (at most
  // output_rows) are computed along, and of each what `best` wants is found (at most most_best() of them).
  // `proceed` is asked before each layer that is not part of a recorded step; when it says no the pass ends with
  // ECANCELED and the positions of the batch hold nothing.
  void run(const Batch& batch, BestWanted best, const std::function<bool()>& proceed);

  // How many best logits can be found: 0 where the backend leaves that to the host.
  size_t most_best() const { return best_ ? Backend::most_best : 0; }

  // Of rows of the last batch: the final hidden states, rows.size() x width floats, or the logits, rows.size() x
  // vocabulary floats, written to host memory. Logits of just the batch's outputs are there already.
  void states(std::span<const uint32_t> rows, float* out);
  void logits(std::span<const uint32_t> rows, float* out);
  // Of the batch's outputs what run() was asked for: so many candidates of each, and the rest. See
  // Backend::read_best().
  void best(std::vector<Candidate>& out, std::vector<double>& rest);

 private:
  void layer(size_t index, std::span<const Run> runs);
  void set_angles(std::span<const Run> runs);
  Matrix compute_logits(std::span<const uint32_t> rows);
  Matrix final_norm(std::span<const uint32_t> rows);
  Matrix buffer(size_t rows, size_t columns);

  Backend& backend_;
  const Config& config_;
  const Weights& weights_;
  const CacheLayout& layout_;
  size_t capacity_;
  size_t rows_ = 0;                // of the last batch
  std::vector<uint32_t> outputs_;  // rows that logits_ holds
  BestWanted found_;               // for each of them

  std::vector<Memory> memory_;
  Matrix hidden_, normed_, query_, key_, value_, attended_, projected_, gate_, up_, angles_, local_angles_, logits_;
  Memory best_;
  std::vector<float> angle_values_;
};

}  // namespace llmos::core
