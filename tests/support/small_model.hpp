// SPDX-License-Identifier: MIT
// A Llama of a few hundred kilobytes with random weights, which any backend runs in no time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "support/gguf_writer.hpp"
#include "support/random_weights.hpp"

namespace llmos::test {

// Models of different seeds differ in weights, those of different `words` in their vocabulary, too. `size` is that of the
// output norm's weights.
inline GgufWriter small_model(uint64_t seed = 1, uint32_t words = 64, float size = 1) {
  constexpr uint32_t width = 64, hidden = 128, heads = 4, kv_heads = 2, layers = 2, bytes = 256, specials = 3;
  const uint32_t vocabulary = specials + bytes + words;
  GgufWriter writer;
  writer.set("general.architecture", "llama").set("llama.block_count", layers).set("llama.context_length", 256u);
  writer.set("llama.embedding_length", width).set("llama.feed_forward_length", hidden);
  writer.set("llama.attention.head_count", heads).set("llama.attention.head_count_kv", kv_heads);
  writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5f).set("llama.rope.dimension_count", width / heads);

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
  const auto matrix = [&](const std::string& name, uint64_t columns, uint64_t rows) {
    std::vector<float> weights(columns * rows);
    fill_random(core::TensorType::f32, std::as_writable_bytes(std::span(weights)), random, 0.1f);
    writer.tensor(name, core::TensorType::f32, {columns, rows}, weights);
  };
  const auto ones = [&](const std::string& name, float value = 1) {
    writer.tensor(name, core::TensorType::f32, {width}, std::vector<float>(width, value));
  };
  matrix("token_embd.weight", width, vocabulary);
  ones("output_norm.weight", size);
  for (uint32_t layer = 0; layer < layers; layer++) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    ones(block + "attn_norm.weight");
    ones(block + "ffn_norm.weight");
    matrix(block + "attn_q.weight", width, width);
    matrix(block + "attn_k.weight", width, width / heads * kv_heads);
    matrix(block + "attn_v.weight", width, width / heads * kv_heads);
    matrix(block + "attn_output.weight", width, width);
    matrix(block + "ffn_gate.weight", width, hidden);
    matrix(block + "ffn_up.weight", width, hidden);
    matrix(block + "ffn_down.weight", hidden, width);
  }
  return writer;
}

}  // namespace llmos::test
