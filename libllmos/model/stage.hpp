// SPDX-License-Identifier: MIT
// A part of a model on the backend that runs it: its weights, and the activations on their way through its layers.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "backend/backend.hpp"
#include "model/config.hpp"
#include "model/weights.hpp"

namespace llmos::core {

// Activations of a batch in a backend's memory; the last batch's hidden states stay until the next.
struct Activations {
  // Rows whose logits are computed at once: one takes as much room as the vocabulary.
  static constexpr size_t output_rows = 16;

  using Allocate = std::function<std::byte*(size_t bytes)>;
  Activations(const Backend& backend, const Config& config, const Part& part, size_t capacity,
              const Allocate& allocate);

  Matrix hidden, normed, query, key, value, attended, projected, gate, up, angles, local_angles, logits;
  std::byte* best = nullptr;  // room to find the best logits in, where the backend does that
};

class Stage {
 public:
  // `capacity`: tokens of a batch. The references must outlive the stage.
  Stage(Backend& backend, const Config& config, const Part& part, Weights weights, const CacheLayout& layout,
        size_t capacity);

  // What a stage takes of the backend's memory, without its weights and cache.
  static Demand demand(const Backend& backend, const Config& config, const Part& part, size_t capacity);

  Backend& backend() const { return backend_; }
  const Part& part() const { return part_; }
  bool finds_best() const { return activations_.best; }

  void set_angles(std::span<const float> global, std::span<const float> local);
  // Takes over the hidden states of as many rows from the stage before; `host` is room for them.
  void take_over(const Stage& before, size_t rows, std::vector<float>& host);

  void embed(std::span<const int32_t> tokens);
  // `runs` have the pages of this stage; `go_on` is called before each layer.
  void layers(size_t rows, std::span<const Run> runs, const std::function<void()>& go_on);
  Matrix final_norm(std::span<const uint32_t> rows);
  Matrix compute_logits(std::span<const uint32_t> rows);
  void find_best(Matrix logits, BestWanted best) {
    backend_.find_best(logits, best.count, activations_.best, best.rest);
  }

  Matrix logits(size_t rows) const { return activations_.logits.first_rows(rows); }
  void read_best(size_t rows, size_t count, Candidate* out, double* rest) const {
    backend_.read_best(logits(rows), count, activations_.best, out, rest);
  }

 private:
  void layer(size_t index, size_t rows, std::span<const Run> runs);

  Backend& backend_;
  const Config& config_;
  const Part part_;
  const Weights weights_;
  const CacheLayout& layout_;
  std::vector<Memory> memory_;
  const Activations activations_;
};

}  // namespace llmos::core
