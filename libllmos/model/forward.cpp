// SPDX-License-Identifier: MIT
#include "model/forward.hpp"

#include <algorithm>
#include <cerrno>

#include "model/rope.hpp"
#include "system/error.hpp"

namespace llmos::core {

Forward::Forward(Backend& backend, const Config& config, const Weights& weights, const CacheLayout& layout,
                 size_t capacity)
    : backend_(backend), config_(config), weights_(weights), layout_(layout), capacity_(capacity) {
  const size_t queries = config.heads * config.head_size, keys = config.kv_heads * config.head_size;
  for (Matrix* matrix : {&hidden_, &normed_, &projected_}) *matrix = buffer(capacity, config.width);
  for (Matrix* matrix : {&query_, &attended_}) *matrix = buffer(capacity, queries);
  for (Matrix* matrix : {&key_, &value_}) *matrix = buffer(capacity, keys);
  for (Matrix* matrix : {&gate_, &up_}) *matrix = buffer(capacity, config.hidden);
  for (Matrix* matrix : {&angles_, &local_angles_}) *matrix = buffer(capacity, config.rope.components);
  logits_ = buffer(output_rows, config.vocabulary);
  if (const size_t bytes = backend.best_bytes(output_rows, config.vocabulary)) best_ = backend.allocate(bytes);
}

Matrix Forward::buffer(size_t rows, size_t columns) {
  memory_.push_back(backend_.allocate(rows * columns * sizeof(float)));
  return {reinterpret_cast<float*>(memory_.back().get()), rows, columns};
}

void Forward::run(const Batch& batch, BestWanted best, const std::function<bool()>& proceed) {
  const auto go_on = [&] {
    if (!proceed()) fail(ECANCELED, "the step was cancelled");
  };
  outputs_.clear();
  go_on();
  rows_ = batch.tokens.size();
  set_angles(batch.runs);
  backend_.repeat(batch, best.count * 2 + best.rest, [&] {
    backend_.embed(weights_.embedding, batch.tokens, config_.embedding_scale, hidden_.first_rows(rows_));
    for (size_t index = 0; index < config_.layers; index++) {
      go_on();
      layer(index, batch.runs);
    }
    if (batch.outputs.empty()) return;
    const Matrix logits = compute_logits(batch.outputs);
    if (best.count > 0) backend_.find_best(logits, best.count, best_.get(), best.rest);
  });
  outputs_.assign(batch.outputs.begin(), batch.outputs.end());
  found_ = best;
}

void Forward::layer(size_t index, std::span<const Run> runs) {
  const LayerWeights& w = weights_.layers[index];
  const float epsilon = config_.norm_epsilon;
  const Matrix x = hidden_.first_rows(rows_), normed = normed_.first_rows(rows_), delta = projected_.first_rows(rows_);
  const Matrix query = query_.first_rows(rows_), key = key_.first_rows(rows_), value = value_.first_rows(rows_);
  const Matrix attended = attended_.first_rows(rows_), gate = gate_.first_rows(rows_), up = up_.first_rows(rows_);
  const bool local = config_.is_local(index);
  const RopeAngles angles{(local ? local_angles_ : angles_).first_rows(rows_), config_.rope.interleaved};

  backend_.norm(x, w.attention_norm, epsilon, normed);
  backend_.multiply(normed, {{w.query, w.query_bias, query}, {w.key, w.key_bias, key}, {w.value, w.value_bias, value}});
  const Matrix query_heads = query.with_columns(config_.head_size), key_heads = key.with_columns(config_.head_size);
  if (w.query_norm) backend_.norm(query_heads, w.query_norm, epsilon, query_heads);
  if (w.key_norm) backend_.norm(key_heads, w.key_norm, epsilon, key_heads);
  backend_.rotate(query, config_.heads, angles);
  backend_.rotate(key, config_.kv_heads, angles);
  backend_.store(layout_, index, runs, key, value);
  backend_.attend(layout_, index, runs,
                  {.heads = config_.heads,
                   .scale = config_.attention_scale,
                   .soft_cap = config_.attention_cap,
                   .window = config_.window_of(index)},
                  query, attended);
  backend_.multiply(attended, {{w.out, w.out_bias, delta}});
  if (w.attention_post_norm) backend_.norm(delta, w.attention_post_norm, epsilon, delta);
  backend_.add(x, delta);

  backend_.norm(x, w.feed_forward_norm, epsilon, normed);
  backend_.multiply_gated(normed, w.gate, w.up, config_.activation, gate, up);
  backend_.multiply(gate, {{w.down, nullptr, delta}});
  if (w.feed_forward_post_norm) backend_.norm(delta, w.feed_forward_post_norm, epsilon, delta);
  backend_.add(x, delta);
}

// Angles are computed in double precision, so on the host.
void Forward::set_angles(std::span<const Run> runs) {
  const auto fill = [&](const Rope& rope, Matrix table) {
    angle_values_.resize(rows_ * rope.components);
    for (const Run& run : runs)
      for (size_t i = 0; i < run.rows; i++)
        rope_angles(rope, run.position + i, angle_values_.data() + (run.first_row + i) * rope.components);
    backend_.upload(angle_values_.data(), angle_values_.size() * sizeof(float), table.data);
  };
  fill(config_.rope, angles_);
  fill(config_.local_rope, local_angles_);
}

Matrix Forward::final_norm(std::span<const uint32_t> rows) {
  const Matrix chosen = normed_.first_rows(rows.size());
  backend_.gather(hidden_, rows, chosen);
  backend_.norm(chosen, weights_.output_norm, config_.norm_epsilon, chosen);
  return chosen;
}

void Forward::states(std::span<const uint32_t> rows, float* out) {
  const Matrix chosen = final_norm(rows);
  backend_.download(chosen.data, rows.size() * config_.width * sizeof(float), out);
}

Matrix Forward::compute_logits(std::span<const uint32_t> rows) {
  const Matrix logits = logits_.first_rows(rows.size());
  backend_.multiply(final_norm(rows), {{weights_.output, nullptr, logits}});
  if (config_.output_cap > 0) backend_.soft_cap(logits, config_.output_cap);
  return logits;
}

void Forward::logits(std::span<const uint32_t> rows, float* out) {
  for (; !rows.empty(); rows = rows.subspan(std::min(rows.size(), output_rows))) {
    const auto some = rows.first(std::min(rows.size(), output_rows));
    if (!std::ranges::equal(some, outputs_)) {
      outputs_.clear();  // until they are
      compute_logits(some);
      outputs_.assign(some.begin(), some.end());
    }
    backend_.download(logits_.data, some.size() * config_.vocabulary * sizeof(float), out);
    out += some.size() * config_.vocabulary;
  }
}

void Forward::best(std::vector<Candidate>& out, std::vector<double>& rest) {
  out.resize(outputs_.size() * found_.count);
  rest.assign(outputs_.size(), 0);
  if (out.empty()) return;
  backend_.read_best(logits_.first_rows(outputs_.size()), found_.count, best_.get(), out.data(),
                     found_.rest ? rest.data() : nullptr);
}

}  // namespace llmos::core
