// SPDX-License-Identifier: MIT
// The forward pass: tokens in, hidden states and logits out, through one stage or, where a model's first layers run on
// the host, two. One Forward belongs to one engine; not thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "backend/backend.hpp"
#include "model/config.hpp"
#include "model/stage.hpp"

namespace llmos::core {

class Forward {
 public:
  static constexpr size_t output_rows = Activations::output_rows;

  // For batches of up to `capacity` tokens. The first stage embeds, the last answers; its backend is awake whenever the
  // Forward is used, the others are woken for their part.
  Forward(const Config& config, std::vector<std::unique_ptr<Stage>> stages, size_t capacity);

  size_t capacity() const { return capacity_; }

  // Runs a batch through all layers: `batches` are the same one as each stage sees it, with the pages that its keys and
  // values go to. Logits of the batch's outputs (at most output_rows) are computed along, and of each what
  // `best` wants is found (at most most_best() of them). `proceed` is asked before each layer that is not part of a
  // recorded step; when it says no the pass ends with ECANCELED and the positions of the batch hold nothing.
  void run(std::span<const Batch> batches, BestWanted best, const std::function<bool()>& proceed);

  // How many best logits can be found: 0 where the backend leaves that to the host.
  size_t most_best() const { return last().finds_best() ? Backend::most_best : 0; }

  // Of rows of the last batch: the final hidden states, rows.size() x width floats, or the logits, rows.size() x
  // vocabulary floats, written to host memory. Logits of just the batch's outputs are there already.
  void states(std::span<const uint32_t> rows, float* out);
  void logits(std::span<const uint32_t> rows, float* out);
  // Of the batch's outputs what run() was asked for: so many candidates of each, and the rest. See
  // Backend::read_best().
  void best(std::vector<Candidate>& out, std::vector<double>& rest);

 private:
  Stage& last() const { return *stages_.back(); }
  void run_stage(size_t index, const Batch& batch, BestWanted best, const std::function<void()>& go_on);
  void set_angles(std::span<const Run> runs, size_t rows);

  const Config& config_;
  std::vector<std::unique_ptr<Stage>> stages_;
  size_t capacity_;
  std::vector<uint32_t> outputs_;  // rows whose logits are there
  BestWanted found_;               // for each of them
  std::vector<float> angle_values_, local_angle_values_, handed_over_;
};

}  // namespace llmos::core
