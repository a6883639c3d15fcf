// SPDX-License-Identifier: MIT
#include "synthetic.hpp"

#include <algorithm>
#include <cerrno>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "format/tensor.hpp"
#include "support/gguf_writer.hpp"
#include "support/random_weights.hpp"
#include "system/error.hpp"
#include "text/byte_alphabet.hpp"

namespace llmos::bench {
namespace {

using namespace llmos::core;
using llmos::test::GgufWriter;

// As many tokens as Llama 3 has, each made by merging two that were there before.
void add_vocabulary(GgufWriter& writer, size_t size) {
  std::vector<std::string> tokens, merges;
  std::set<std::string> known;
  for (int byte = 0; byte < 256; byte++) {
    tokens.emplace_back();
    append_byte_character(static_cast<uint8_t>(byte), tokens.back());
    known.insert(tokens.back());
  }
  std::mt19937_64 random(7);
  while (tokens.size() + 2 < size) {
    const std::string& a = tokens[random() % std::min<size_t>(tokens.size(), 4096)];
    const std::string& b = tokens[random() % std::min<size_t>(tokens.size(), 4096)];
    if (a.size() + b.size() > 16 || !known.insert(a + b).second) continue;
    merges.push_back(a + " " + b);
    tokens.push_back(a + b);
  }
  tokens.insert(tokens.end(), {"<|begin_of_text|>", "<|end_of_text|>"});
  std::vector<int32_t> types(size, 1);
  types[size - 2] = types[size - 1] = 3;
  writer.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.pre", "llama-bpe");
  writer.set_array("tokenizer.ggml.tokens", tokens).set_array("tokenizer.ggml.merges", merges);
  writer.set_array("tokenizer.ggml.token_type", types);
  writer.set("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(size - 2));
  writer.set("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(size - 1));
}

}  // namespace

void write_synthetic_model(const std::string& type_name, const std::string& path, uint32_t layers) {
  constexpr uint64_t width = 2048, hidden = 8192, keys = 512, vocabulary = 128256;
  const auto found =
      std::find_if(tensor_types.begin(), tensor_types.end(), [&](auto& i) { return i.name == type_name; });
  if (found == tensor_types.end()) fail(EINVAL, "there is no type {}", type_name);
  const TensorType type = found->type;
  const TensorType embedding = type == TensorType::q4_0 || type == TensorType::q4_k ? TensorType::q6_k : type;
  GgufWriter writer;
  writer.set("general.architecture", "llama").set("llama.block_count", layers);
  writer.set("llama.context_length", 131072u).set("llama.embedding_length", static_cast<uint32_t>(width));
  writer.set("llama.feed_forward_length", static_cast<uint32_t>(hidden)).set("llama.attention.head_count", 32u);
  writer.set("llama.attention.head_count_kv", 8u).set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  writer.set("llama.rope.freq_base", 500000.0f).set("llama.rope.dimension_count", 64u);
  writer.set("llama.vocab_size", static_cast<uint32_t>(vocabulary));
  add_vocabulary(writer, vocabulary);

  auto random = std::make_shared<std::mt19937_64>(1);
  const auto matrix = [&](const std::string& name, TensorType kind, uint64_t columns, uint64_t rows) {
    writer.tensor(name, kind, {columns, rows}, [=](std::span<std::byte> out) {
      // One stretch of random weights, repeated: gigabytes of them would take minutes to make.
      const size_t block = tensor_type_info(kind).block_bytes, stretch = std::min(out.size(), block * 65536);
      llmos::test::fill_random(kind, out.first(stretch), *random, 0.02f);
      for (size_t at = stretch; at < out.size(); at += stretch)
        std::copy_n(out.begin(), std::min(stretch, out.size() - at), out.begin() + static_cast<ptrdiff_t>(at));
    });
  };
  const auto ones = [&](const std::string& name) {
    writer.tensor(name, TensorType::f32, {width}, std::vector<float>(width, 1));
  };
  matrix("token_embd.weight", embedding, width, vocabulary);
  ones("output_norm.weight");
  for (uint32_t layer = 0; layer < layers; layer++) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    ones(block + "attn_norm.weight");
    ones(block + "ffn_norm.weight");
    matrix(block + "attn_q.weight", type, width, width);
    matrix(block + "attn_k.weight", type, width, keys);
    matrix(block + "attn_v.weight", type, width, keys);
    matrix(block + "attn_output.weight", type, width, width);
    matrix(block + "ffn_gate.weight", type, width, hidden);
    matrix(block + "ffn_up.weight", type, width, hidden);
    matrix(block + "ffn_down.weight", type, hidden, width);
  }
  writer.write(path);
}

}  // namespace llmos::bench
