// SPDX-License-Identifier: MIT
#include "model/weights.hpp"

#include <cerrno>

#include "backend/cpu/dequantize.hpp"
#include "system/error.hpp"

namespace llmos::core {
namespace {

// Gathers short vectors on the host; they get their place in the backend's memory at the end, all at once.
class Vectors {
 public:
  void want(const TensorView& tensor, const float** pointer) {
    wanted_.push_back({pointer, values_.size()});
    values_.resize(values_.size() + (tensor.columns() + 15) / 16 * 16);
    dequantize(tensor.type, tensor.data, tensor.columns(), values_.data() + wanted_.back().offset);
  }

  Memory place(Backend& backend) const {
    Memory memory = backend.allocate(values_.size() * sizeof(float));
    backend.upload(values_.data(), values_.size() * sizeof(float), memory.get());
    for (const Wanted& wanted : wanted_) *wanted.pointer = reinterpret_cast<const float*>(memory.get()) + wanted.offset;
    return memory;
  }

 private:
  struct Wanted {
    const float** pointer;
    size_t offset;
  };
  std::vector<Wanted> wanted_;
  std::vector<float> values_;
};

class Reader {
 public:
  Reader(const Gguf& gguf, Backend& backend) : gguf_(gguf), backend_(backend) {}

  TensorView matrix(const std::string& name, size_t columns, size_t rows) {
    const TensorView tensor = gguf_.tensor(name);
    check(tensor, name, columns, rows);
    return backend_.adopt(tensor);
  }

  void vector(const std::string& name, size_t size, const float** pointer) {
    check(gguf_.tensor(name), name, size, 1);
    vectors_.want(gguf_.tensor(name), pointer);
  }

  void optional_vector(const std::string& name, size_t size, const float** pointer) {
    *pointer = nullptr;
    if (gguf_.find_tensor(name)) vector(name, size, pointer);
  }

  Memory place() { return vectors_.place(backend_); }

 private:
  static void check(const TensorView& tensor, const std::string& name, size_t columns, size_t rows) {
    if (tensor.columns() != columns || tensor.rows() != rows)
      fail(EBADMSG, "{} is {} x {}; the model's configuration wants {} x {}", name, tensor.columns(), tensor.rows(),
           columns, rows);
    if (reinterpret_cast<uintptr_t>(tensor.data) % 4 != 0)  // kernels read halves and floats where they lie
      fail(ENOTSUP, "{} does not lie at a multiple of 4 bytes; write the file with an alignment of 4 or more", name);
  }

  const Gguf& gguf_;
  Backend& backend_;
  Vectors vectors_;
};

void read_layer(Reader& reader, const Config& config, size_t index, LayerWeights& layer) {
  const std::string block = "blk." + std::to_string(index) + ".";
  const size_t queries = config.heads * config.head_size, keys = config.kv_heads * config.head_size;
  layer.query = reader.matrix(block + "attn_q.weight", config.width, queries);
  layer.key = reader.matrix(block + "attn_k.weight", config.width, keys);
  layer.value = reader.matrix(block + "attn_v.weight", config.width, keys);
  layer.out = reader.matrix(block + "attn_output.weight", queries, config.width);
  layer.gate = reader.matrix(block + "ffn_gate.weight", config.width, config.hidden);
  layer.up = reader.matrix(block + "ffn_up.weight", config.width, config.hidden);
  layer.down = reader.matrix(block + "ffn_down.weight", config.hidden, config.width);
  reader.vector(block + "attn_norm.weight", config.width, &layer.attention_norm);
  reader.vector(block + "ffn_norm.weight", config.width, &layer.feed_forward_norm);
  reader.optional_vector(block + "attn_q.bias", queries, &layer.query_bias);
  reader.optional_vector(block + "attn_k.bias", keys, &layer.key_bias);
  reader.optional_vector(block + "attn_v.bias", keys, &layer.value_bias);
  reader.optional_vector(block + "attn_output.bias", config.width, &layer.out_bias);
  reader.optional_vector(block + "attn_q_norm.weight", config.head_size, &layer.query_norm);
  reader.optional_vector(block + "attn_k_norm.weight", config.head_size, &layer.key_norm);
  reader.optional_vector(block + "post_attention_norm.weight", config.width, &layer.attention_post_norm);
  reader.optional_vector(block + "post_ffw_norm.weight", config.width, &layer.feed_forward_post_norm);
}

}  // namespace

Weights read_weights(const Gguf& gguf, const Config& config, Backend& backend) {
  size_t bytes = 0;
  for (const GgufTensor& tensor : gguf.tensors()) bytes += tensor.bytes;
  backend.expect(bytes);
  Reader reader(gguf, backend);
  Weights weights;
  weights.embedding = reader.matrix("token_embd.weight", config.width, config.vocabulary);
  const bool tied = gguf.find_tensor("output.weight") == nullptr;
  weights.output = tied ? weights.embedding : reader.matrix("output.weight", config.width, config.vocabulary);
  reader.vector("output_norm.weight", config.width, &weights.output_norm);
  weights.layers.resize(config.layers);
  for (size_t i = 0; i < config.layers; i++) read_layer(reader, config, i, weights.layers[i]);
  weights.vectors = reader.place();
  return weights;
}

}  // namespace llmos::core
