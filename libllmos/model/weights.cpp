// SPDX-License-Identifier: MIT
#include "model/weights.hpp"

#include <cerrno>

#include "backend/cpu/dequantize.hpp"
#include "system/error.hpp"

namespace llmos::core {

WantedWeights::WantedWeights(const Gguf& gguf, const Config& config, const Part& part) : gguf_(gguf) {
  const bool output_is_embedding = !gguf.find_tensor("output.weight");
  if (part.embeds) matrix("token_embd.weight", config.width, config.vocabulary, weights_.embedding);
  if (part.answers) {
    tied_ = output_is_embedding && part.embeds;
    const char* const output = output_is_embedding ? "token_embd.weight" : "output.weight";
    if (!tied_) matrix(output, config.width, config.vocabulary, weights_.output);
    vector("output_norm.weight", config.width, weights_.output_norm);
  }
  weights_.layers.resize(part.layers());
  for (size_t i = 0; i < part.layers(); i++) layer(config, part.first + i, weights_.layers[i]);
}

TensorView WantedWeights::find(const std::string& name, size_t columns, size_t rows) const {
  const TensorView tensor = gguf_.tensor(name);
  if (tensor.columns() != columns || tensor.rows() != rows)
    fail(EBADMSG, "{} is {} x {}; the model's configuration wants {} x {}", name, tensor.columns(), tensor.rows(),
         columns, rows);
  if (reinterpret_cast<uintptr_t>(tensor.data) % 4 != 0)  // kernels read halves and floats where they lie
    fail(ENOTSUP, "{} does not lie at a multiple of 4 bytes; write the file with an alignment of 4 or more", name);
  return tensor;
}

void WantedWeights::matrix(const std::string& name, size_t columns, size_t rows, TensorView& place) {
  matrices_.push_back({find(name, columns, rows), &place});
}

void WantedWeights::vector(const std::string& name, size_t size, const float*& place) {
  vectors_.push_back({find(name, size, 1), &place, floats_});
  floats_ += (size + 15) / 16 * 16;
}

void WantedWeights::optional_vector(const std::string& name, size_t size, const float*& place) {
  place = nullptr;
  if (gguf_.find_tensor(name)) vector(name, size, place);
}

void WantedWeights::layer(const Config& config, size_t index, LayerWeights& layer) {
  const std::string block = "blk." + std::to_string(index) + ".";
  const size_t queries = config.heads * config.head_size, keys = config.kv_heads * config.head_size;
  matrix(block + "attn_q.weight", config.width, queries, layer.query);
  matrix(block + "attn_k.weight", config.width, keys, layer.key);
  matrix(block + "attn_v.weight", config.width, keys, layer.value);
  matrix(block + "attn_output.weight", queries, config.width, layer.out);
  matrix(block + "ffn_gate.weight", config.width, config.hidden, layer.gate);
  matrix(block + "ffn_up.weight", config.width, config.hidden, layer.up);
  matrix(block + "ffn_down.weight", config.hidden, config.width, layer.down);
  vector(block + "attn_norm.weight", config.width, layer.attention_norm);
  vector(block + "ffn_norm.weight", config.width, layer.feed_forward_norm);
  optional_vector(block + "attn_q.bias", queries, layer.query_bias);
  optional_vector(block + "attn_k.bias", keys, layer.key_bias);
  optional_vector(block + "attn_v.bias", keys, layer.value_bias);
  optional_vector(block + "attn_output.bias", config.width, layer.out_bias);
  optional_vector(block + "attn_q_norm.weight", config.head_size, layer.query_norm);
  optional_vector(block + "attn_k_norm.weight", config.head_size, layer.key_norm);
  optional_vector(block + "post_attention_norm.weight", config.width, layer.attention_post_norm);
  optional_vector(block + "post_ffw_norm.weight", config.width, layer.feed_forward_post_norm);
}

size_t WantedWeights::matrix_bytes(const Backend& backend) const {
  size_t bytes = 0;
  for (const Matrix& matrix : matrices_) bytes += backend.weight_bytes(matrix.tensor);
  return bytes;
}

Demand WantedWeights::demand(const Backend& backend) const {
  Demand demand;
  if (const size_t bytes = matrix_bytes(backend)) demand.add(bytes);
  demand.add(floats_ * sizeof(float));
  return demand;
}

// Short vectors are gathered on the host and get their place in the backend's memory all at once.
Weights WantedWeights::place(Backend& backend) {
  backend.expect(matrix_bytes(backend));
  for (const Matrix& matrix : matrices_) *matrix.place = backend.adopt(matrix.tensor);
  if (tied_) weights_.output = weights_.embedding;
  std::vector<float> values(floats_);
  for (const Vector& vector : vectors_)
    dequantize(vector.tensor.type, vector.tensor.data, vector.tensor.columns(), values.data() + vector.offset);
  weights_.vectors = backend.allocate(values.size() * sizeof(float));
  backend.upload(values.data(), values.size() * sizeof(float), weights_.vectors.get());
  for (const Vector& vector : vectors_)
    *vector.place = reinterpret_cast<const float*>(weights_.vectors.get()) + vector.offset;
  return std::move(weights_);
}

}  // namespace llmos::core
