// SPDX-License-Identifier: MIT
// Models of a few hundred kilobytes with random weights, which any backend runs in no time: a Llama, and one of every
// other architecture.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

#include "backend/cpu/blocks.hpp"
#include "support/gguf_writer.hpp"
#include "support/random_weights.hpp"

namespace llmos::test {

// What an architecture has that others have not.
struct SmallArchitecture {
  const char* name = "llama";
  bool biases = false, head_norms = false, post_norms = false;
  uint32_t head_size = 16, window = 0;  // 0: none
  float attention_cap = 0, output_cap = 0;
  uint32_t layers = 2;
  core::TensorType type = core::TensorType::f32;  // of the matrices; or f16 or bf16
};

inline uint16_t in_16_bits(core::TensorType type, float value) {
  return type == core::TensorType::f16 ? core::float_to_half(value)
                                       : static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16);
}

inline constexpr SmallArchitecture small_architectures[] = {
    {},
    {.name = "llama", .head_size = 24, .window = 9},  // Mistral
    {.name = "qwen2", .biases = true},
    {.name = "qwen3", .head_norms = true, .head_size = 32},
    {.name = "gemma", .head_size = 32},
    {.name = "gemma2", .post_norms = true, .window = 9, .attention_cap = 20, .output_cap = 5, .layers = 3},
    {.name = "gemma3", .head_norms = true, .post_norms = true, .head_size = 32, .window = 9, .layers = 7},
};

// Models of different seeds differ in weights, those of different `words` in their vocabulary, too. `size` is that of
// the output norm's weights.
inline GgufWriter small_model(uint64_t seed = 1, uint32_t words = 64, float size = 1,
                              const SmallArchitecture& architecture = {}) {
  constexpr uint32_t width = 64, hidden = 128, heads = 4, kv_heads = 2, bytes = 256, specials = 3;
  const uint32_t vocabulary = specials + bytes + words, queries = heads * architecture.head_size;
  const uint32_t keys = kv_heads * architecture.head_size;
  GgufWriter writer;
  const std::string name = architecture.name;
  writer.set("general.architecture", name);
  writer.set(name + ".block_count", architecture.layers).set(name + ".context_length", 256u);
  writer.set(name + ".embedding_length", width).set(name + ".feed_forward_length", hidden);
  writer.set(name + ".attention.head_count", heads).set(name + ".attention.head_count_kv", kv_heads);
  writer.set(name + ".attention.key_length", architecture.head_size);
  writer.set(name + ".attention.value_length", architecture.head_size);
  writer.set(name + ".attention.layer_norm_rms_epsilon", 1e-5f);
  writer.set(name + ".rope.dimension_count", architecture.head_size);
  if (architecture.window) writer.set(name + ".attention.sliding_window", architecture.window);
  if (architecture.attention_cap > 0) writer.set(name + ".attn_logit_softcapping", architecture.attention_cap);
  if (architecture.output_cap > 0) writer.set(name + ".final_logit_softcapping", architecture.output_cap);

  std::vector<std::string> tokens{"<unk>", "<s>", "</s>"};
  std::vector<int32_t> types{2, 3, 3};
  for (unsigned byte = 0; byte < bytes; byte++) {
    const char digits[] = "0123456789ABCDEF";
    tokens.push_back(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">");
    types.push_back(6);
  }
  for (unsigned word = 0; word < words; word++) {
    tokens.push_back("\u2581w" + std::to_string(word));
    types.push_back(1);
  }
  writer.set("tokenizer.ggml.model", "llama").set("tokenizer.ggml.pre", "default");
  writer.set_array("tokenizer.ggml.tokens", tokens).set_array("tokenizer.ggml.token_type", types);
  writer.set_array("tokenizer.ggml.scores", std::vector<float>(vocabulary, 0.0f));
  writer.set("tokenizer.ggml.bos_token_id", 1u).set("tokenizer.ggml.eos_token_id", 2u);

  std::mt19937_64 random(seed);
  const auto matrix = [&](const std::string& tensor, uint64_t columns, uint64_t rows) {
    std::vector<float> weights(columns * rows);
    fill_random(core::TensorType::f32, std::as_writable_bytes(std::span(weights)), random, 0.1f);
    if (architecture.type == core::TensorType::f32) {
      writer.tensor(tensor, core::TensorType::f32, {columns, rows}, weights);
      return;
    }
    std::vector<uint16_t> short_weights;
    for (const float weight : weights) short_weights.push_back(in_16_bits(architecture.type, weight));
    writer.tensor(tensor, architecture.type, {columns, rows}, short_weights);
  };
  const auto vector = [&](const std::string& tensor, uint64_t columns, float middle, float spread) {
    std::vector<float> weights(columns);
    std::uniform_real_distribution<float> about(middle - spread, middle + spread);
    for (float& weight : weights) weight = about(random);
    writer.tensor(tensor, core::TensorType::f32, {columns}, weights);
  };
  const auto norm = [&](const std::string& tensor, uint64_t columns) { vector(tensor, columns, 1, 0.3f); };
  matrix("token_embd.weight", width, vocabulary);
  vector("output_norm.weight", width, size, size * 0.1f);
  for (uint32_t layer = 0; layer < architecture.layers; layer++) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    norm(block + "attn_norm.weight", width);
    norm(block + "ffn_norm.weight", width);
    matrix(block + "attn_q.weight", width, queries);
    matrix(block + "attn_k.weight", width, keys);
    matrix(block + "attn_v.weight", width, keys);
    matrix(block + "attn_output.weight", queries, width);
    matrix(block + "ffn_gate.weight", width, hidden);
    matrix(block + "ffn_up.weight", width, hidden);
    matrix(block + "ffn_down.weight", hidden, width);
    if (architecture.biases) {
      vector(block + "attn_q.bias", queries, 0, 0.5f);
      vector(block + "attn_k.bias", keys, 0, 0.5f);
      vector(block + "attn_v.bias", keys, 0, 0.5f);
    }
    if (architecture.head_norms) {
      norm(block + "attn_q_norm.weight", architecture.head_size);
      norm(block + "attn_k_norm.weight", architecture.head_size);
    }
    if (architecture.post_norms) {
      norm(block + "post_attention_norm.weight", width);
      norm(block + "post_ffw_norm.weight", width);
    }
  }
  return writer;
}

}  // namespace llmos::test
