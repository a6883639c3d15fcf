// SPDX-License-Identifier: MIT
#include "model/stage.hpp"

#include <utility>

namespace llmos::core {

Activations::Activations(const Backend& backend, const Config& config, const Part& part, size_t capacity,
                         const Allocate& allocate) {
  const auto buffer = [&](size_t rows, size_t columns) {
    return Matrix{reinterpret_cast<float*>(allocate(rows * columns * sizeof(float))), rows, columns};
  };
  const size_t queries = config.heads * config.head_size, keys = config.kv_heads * config.head_size;
  for (Matrix* matrix : {&hidden, &normed}) *matrix = buffer(capacity, config.width);
  if (part.layers() > 0) {
    projected = buffer(capacity, config.width);
    for (Matrix* matrix : {&query, &attended}) *matrix = buffer(capacity, queries);
    for (Matrix* matrix : {&key, &value}) *matrix = buffer(capacity, keys);
    for (Matrix* matrix : {&gate, &up}) *matrix = buffer(capacity, config.hidden);
    for (Matrix* matrix : {&angles, &local_angles}) *matrix = buffer(capacity, config.rope.components);
  }
  if (!part.answers) return;
  logits = buffer(output_rows, config.vocabulary);
  if (const size_t bytes = backend.best_bytes(output_rows, config.vocabulary)) best = allocate(bytes);
}

Stage::Stage(Backend& backend, const Config& config, const Part& part, Weights weights, const CacheLayout& layout,
             size_t capacity)
    : backend_(backend),
      config_(config),
      part_(part),
      weights_(std::move(weights)),
      layout_(layout),
      activations_(backend, config, part, capacity, [this](size_t bytes) {
        memory_.push_back(backend_.allocate(bytes));
        return memory_.back().get();
      }) {}

Demand Stage::demand(const Backend& backend, const Config& config, const Part& part, size_t capacity) {
  Demand demand;
  Activations(backend, config, part, capacity, [&](size_t bytes) {
    demand.add(bytes);
    return nullptr;
  });
  return demand;
}

void Stage::set_angles(std::span<const float> global, std::span<const float> local) {
  if (part_.layers() == 0) return;
  backend_.upload(global.data(), global.size_bytes(), activations_.angles.data);
  backend_.upload(local.data(), local.size_bytes(), activations_.local_angles.data);
}

void Stage::take_over(const Stage& before, size_t rows, std::vector<float>& host) {
  host.resize(rows * config_.width);
  before.backend_.download(before.activations_.hidden.data, host.size() * sizeof(float), host.data());
  backend_.upload(host.data(), host.size() * sizeof(float), activations_.hidden.data);
}

void Stage::embed(std::span<const int32_t> tokens) {
  backend_.embed(weights_.embedding, tokens, config_.embedding_scale, activations_.hidden.first_rows(tokens.size()));
}

void Stage::layers(size_t rows, std::span<const Run> runs, const std::function<void()>& go_on) {
  for (size_t index = 0; index < part_.layers(); index++) {
    go_on();
    layer(index, rows, runs);
  }
}

// `index` counts from the part's first.
void Stage::layer(size_t index, size_t rows, std::span<const Run> runs) {
  const LayerWeights& w = weights_.layers[index];
  const Activations& a = activations_;
  const float epsilon = config_.norm_epsilon;
  const Matrix x = a.hidden.first_rows(rows), normed = a.normed.first_rows(rows), delta = a.projected.first_rows(rows);
  const Matrix query = a.query.first_rows(rows), key = a.key.first_rows(rows), value = a.value.first_rows(rows);
  const Matrix attended = a.attended.first_rows(rows), gate = a.gate.first_rows(rows), up = a.up.first_rows(rows);
  const bool local = config_.is_local(part_.first + index);
  const RopeAngles angles{(local ? a.local_angles : a.angles).first_rows(rows), config_.rope.interleaved};

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
                   .window = config_.window_of(part_.first + index)},
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

Matrix Stage::final_norm(std::span<const uint32_t> rows) {
  const Matrix chosen = activations_.normed.first_rows(rows.size());
  backend_.gather(activations_.hidden, rows, chosen);
  backend_.norm(chosen, weights_.output_norm, config_.norm_epsilon, chosen);
  return chosen;
}

Matrix Stage::compute_logits(std::span<const uint32_t> rows) {
  const Matrix result = logits(rows.size());
  backend_.multiply(final_norm(rows), {{weights_.output, nullptr, result}});
  if (config_.output_cap > 0) backend_.soft_cap(result, config_.output_cap);
  return result;
}

}  // namespace llmos::core
