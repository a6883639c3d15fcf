// SPDX-License-Identifier: MIT
#include "model/forward.hpp"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "model/rope.hpp"
#include "system/error.hpp"

namespace llmos::core {

Forward::Forward(const Config& config, std::vector<std::unique_ptr<Stage>> stages, size_t capacity)
    : config_(config), stages_(std::move(stages)), capacity_(capacity) {}

void Forward::run(std::span<const Batch> batches, BestWanted best, const std::function<bool()>& proceed) {
  const auto go_on = [&] {
    if (!proceed()) fail(ECANCELED, "the step was cancelled");
  };
  const Batch& batch = batches.back();
  outputs_.clear();
  go_on();
  set_angles(batch.runs, batch.tokens.size());
  for (size_t i = 0; i < stages_.size(); i++) run_stage(i, batches[i], best, go_on);
  outputs_.assign(batch.outputs.begin(), batch.outputs.end());
  found_ = best;
}

void Forward::run_stage(size_t index, const Batch& batch, BestWanted best, const std::function<void()>& go_on) {
  Stage& stage = *stages_[index];
  std::optional<Awake> awake;
  if (&stage != &last()) awake.emplace(stage.backend());
  if (index > 0) stage.take_over(*stages_[index - 1], batch.tokens.size(), handed_over_);
  stage.backend().repeat(batch, best.count * 2 + best.rest, [&] {
    if (stage.part().embeds) stage.embed(batch.tokens);
    stage.layers(batch.tokens.size(), batch.runs, go_on);
    if (!stage.part().answers || batch.outputs.empty()) return;
    const Matrix logits = stage.compute_logits(batch.outputs);
    if (best.count > 0) stage.find_best(logits, best);
  });
  if (awake) stage.backend().synchronize();
}

// Angles are computed in double precision, so on the host.
void Forward::set_angles(std::span<const Run> runs, size_t rows) {
  const auto fill = [&](const Rope& rope, std::vector<float>& values) {
    values.resize(rows * rope.components);
    for (const Run& run : runs)
      for (size_t i = 0; i < run.rows; i++)
        rope_angles(rope, run.position + i, values.data() + (run.first_row + i) * rope.components);
  };
  fill(config_.rope, angle_values_);
  fill(config_.local_rope, local_angle_values_);
  for (const auto& stage : stages_) stage->set_angles(angle_values_, local_angle_values_);
}

void Forward::states(std::span<const uint32_t> rows, float* out) {
  const Matrix chosen = last().final_norm(rows);
  last().backend().download(chosen.data, rows.size() * config_.width * sizeof(float), out);
}

void Forward::logits(std::span<const uint32_t> rows, float* out) {
  for (; !rows.empty(); rows = rows.subspan(std::min(rows.size(), output_rows))) {
    const auto some = rows.first(std::min(rows.size(), output_rows));
    if (!std::ranges::equal(some, outputs_)) {
      outputs_.clear();  // until they are
      last().compute_logits(some);
      outputs_.assign(some.begin(), some.end());
    }
    last().backend().download(last().logits(some.size()).data, some.size() * config_.vocabulary * sizeof(float), out);
    out += some.size() * config_.vocabulary;
  }
}

void Forward::best(std::vector<Candidate>& out, std::vector<double>& rest) {
  out.resize(outputs_.size() * found_.count);
  rest.assign(outputs_.size(), 0);
  if (!out.empty()) last().read_best(outputs_.size(), found_.count, out.data(), found_.rest ? rest.data() : nullptr);
}

}  // namespace llmos::core
