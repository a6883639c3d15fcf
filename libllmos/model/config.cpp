// SPDX-License-Identifier: MIT
#include "model/config.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>

#include "backend/cpu/dequantize.hpp"
#include "model/rope.hpp"
#include "system/error.hpp"
#include "text/quote.hpp"

namespace llmos::core {
namespace {

// The named differences between architectures.
struct Architecture {
  std::string_view name;
  bool interleaved_rope;
  Activation activation;
  bool scaled_embedding;  // by the square root of the width
  bool windowed;          // reads attention.sliding_window
  size_t global_every;
  double local_rope_base;      // 0: as in global layers
  size_t narrow_scale_layers;  // the size (by layers) that scales scores by width / heads instead of the head size
};

constexpr Architecture architectures[] = {
    {"llama", true, Activation::silu, false, true, 0, 0, 0},  // and Mistral
    {"qwen2", false, Activation::silu, false, false, 1, 0, 0},
    {"qwen3", false, Activation::silu, false, false, 1, 0, 0},
    {"gemma", false, Activation::gelu, true, false, 1, 0, 0},
    {"gemma2", false, Activation::gelu, true, true, 2, 0, 46},
    {"gemma3", false, Activation::gelu, true, true, 6, 10000, 62},
};

const Architecture& find_architecture(std::string_view name) {
  std::string known;
  for (const Architecture& architecture : architectures) {
    if (architecture.name == name) return architecture;
    known.append(known.empty() ? "" : ", ").append(architecture.name);
  }
  fail(ENOTSUP, "the model's architecture is {}; llmos can run {}", quote(name), known);
}

// Keys of the architecture, as in "llama.block_count".
class Keys {
 public:
  explicit Keys(const Gguf& gguf) : gguf_(gguf), prefix_(std::string(gguf.architecture()) + ".") {}

  size_t count(std::string_view key) const { return bounded(key, gguf_.get<uint64_t>(prefix_ + std::string(key))); }
  size_t count_or(std::string_view key, size_t otherwise) const {
    const auto value = gguf_.get_if<uint64_t>(prefix_ + std::string(key));
    return value ? bounded(key, *value) : otherwise;
  }
  float number_or(std::string_view key, float otherwise) const {
    return gguf_.get_if<float>(prefix_ + std::string(key)).value_or(otherwise);
  }
  std::string_view text_or(std::string_view key, std::string_view otherwise) const {
    return gguf_.get_if<std::string_view>(prefix_ + std::string(key)).value_or(otherwise);
  }
  const GgufValue* find(std::string_view key) const { return gguf_.find(prefix_ + std::string(key)); }

 private:
  // Counts multiply into sizes: what no model has is refused here, so that no product can overflow.
  size_t bounded(std::string_view key, uint64_t value) const {
    if (value > uint64_t{1} << 24) fail(EBADMSG, "{}{} is {}, which no model has", prefix_, key, value);
    return value;
  }

  const Gguf& gguf_;
  std::string prefix_;
};

RopeScaling read_scaling(const Keys& keys, const Config& config) {
  RopeScaling scaling;
  const std::string_view kind = keys.text_or("rope.scaling.type", "none");
  scaling.factor = keys.number_or("rope.scaling.factor", 1);
  if (kind == "none" || scaling.factor == 1) return {};
  if (!(scaling.factor > 0)) fail(EBADMSG, "rope.scaling.factor is {}; it must be positive", scaling.factor);
  if (kind == "linear") {
    scaling.kind = RopeScaling::Kind::linear;
  } else if (kind == "yarn") {
    scaling.kind = RopeScaling::Kind::yarn;
    scaling.original_context =
        static_cast<double>(keys.count_or("rope.scaling.original_context_length", config.context));
    scaling.attention_factor = keys.number_or("rope.scaling.yarn_attn_factor", 1);
    scaling.beta_fast = keys.number_or("rope.scaling.yarn_beta_fast", 32);
    scaling.beta_slow = keys.number_or("rope.scaling.yarn_beta_slow", 1);
  } else {
    fail(ENOTSUP, "the model's rope scaling is {}; llmos has linear, yarn and frequency factors", quote(kind));
  }
  return scaling;
}

std::vector<float> read_factors(const Gguf& gguf, size_t components) {
  const auto tensor = gguf.tensor_if("rope_freqs.weight");
  if (!tensor) return {};
  if (tensor->type != TensorType::f32 || tensor->columns() != components / 2 || tensor->rows() != 1)
    fail(EBADMSG, "rope_freqs.weight should hold {} F32 factors", components / 2);
  std::vector<float> factors(components / 2);
  dequantize(tensor->type, tensor->data, factors.size(), factors.data());
  return factors;
}

void read_ropes(const Gguf& gguf, const Keys& keys, const Architecture& architecture, Config& config) {
  const size_t components = keys.count_or("rope.dimension_count", config.head_size);
  if (components == 0 || components % 2 || components > config.head_size)
    fail(EBADMSG, "rope.dimension_count is {} with heads of {} components", components, config.head_size);
  config.rope.components = config.local_rope.components = components;
  config.rope.interleaved = config.local_rope.interleaved = architecture.interleaved_rope;

  const double base = keys.number_or("rope.freq_base", 10000);
  const RopeScaling scaling = read_scaling(keys, config);
  set_frequencies(config.rope, base, scaling, read_factors(gguf, components));
  config.local_rope = config.rope;
  if (architecture.local_rope_base > 0) {
    const double local_base = keys.number_or("rope.freq_base_swa", static_cast<float>(architecture.local_rope_base));
    set_frequencies(config.local_rope, local_base, {}, {});
  }
}

void read_window(const Keys& keys, const Architecture& architecture, Config& config) {
  config.global_every = architecture.global_every;
  const size_t window = architecture.windowed ? keys.count_or("attention.sliding_window", 0) : 0;
  if (window > 0) config.window = window;
  if (const GgufValue* pattern = keys.find("attention.sliding_window_pattern"); pattern && architecture.windowed)
    if (pattern->type != GgufType::array) config.global_every = keys.count("attention.sliding_window_pattern");
}

void check(const Config& config) {
  if (config.layers == 0 || config.width == 0 || config.hidden == 0 || config.heads == 0 || config.kv_heads == 0 ||
      config.head_size == 0 || config.vocabulary == 0)
    fail(EBADMSG, "the model's layers, width, hidden width, heads and vocabulary must not be zero");
  if (config.heads % config.kv_heads != 0)
    fail(EBADMSG, "{} heads cannot share {} key-value heads evenly", config.heads, config.kv_heads);
  if (config.head_size > 1024) fail(ENOTSUP, "heads of {} components; llmos runs up to 1024", config.head_size);
}

}  // namespace

Config read_config(const Gguf& gguf) {
  const Architecture& architecture = find_architecture(gguf.architecture());
  const Keys keys(gguf);
  Config config;
  config.architecture = architecture.name;
  config.layers = keys.count("block_count");
  config.width = keys.count("embedding_length");
  config.hidden = keys.count("feed_forward_length");
  config.heads = keys.count("attention.head_count");
  config.kv_heads = keys.count_or("attention.head_count_kv", config.heads);
  config.head_size = keys.count_or("attention.key_length", config.heads ? config.width / config.heads : 0);
  config.context = keys.count("context_length");
  config.vocabulary = gguf.tensor("token_embd.weight").rows();
  config.norm_epsilon = keys.number_or("attention.layer_norm_rms_epsilon", 1e-5f);
  config.activation = architecture.activation;
  check(config);
  if (keys.count_or("attention.value_length", config.head_size) != config.head_size)
    fail(ENOTSUP, "keys and values of different sizes are not supported");

  const bool narrow = architecture.narrow_scale_layers == config.layers;
  const size_t scaled_by = narrow ? config.width / config.heads : config.head_size;
  config.attention_scale = keys.number_or("attention.scale", 1 / std::sqrt(static_cast<float>(scaled_by)));
  config.attention_cap = keys.number_or("attn_logit_softcapping", 0);
  config.output_cap = keys.number_or("final_logit_softcapping", 0);
  if (architecture.scaled_embedding) config.embedding_scale = std::sqrt(static_cast<float>(config.width));
  read_window(keys, architecture, config);
  read_ropes(gguf, keys, architecture, config);
  return config;
}

}  // namespace llmos::core
