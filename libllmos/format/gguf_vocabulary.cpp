// SPDX-License-Identifier: MIT
#include "format/gguf_vocabulary.hpp"

#include <algorithm>
#include <cerrno>
#include <string>

#include "system/error.hpp"
#include "text/quote.hpp"

namespace llmos::core {
namespace {

constexpr std::string_view prefix = "tokenizer.ggml.";
std::string key(std::string_view name) { return std::string(prefix).append(name); }

// The names that tokenizer.ggml.pre may have. Those of one line cut texts alike.
struct PreTokenizerName {
  std::string_view name;
  PreTokenizer how;
  bool ignore_merges = false;
  bool add_bos = false;
};
constexpr PreTokenizerName pre_tokenizer_names[] = {
    {"default", PreTokenizer::unnamed},
    {"llama-bpe", PreTokenizer::llama3, true, true},
    {"llama3", PreTokenizer::llama3, true, true},
    {"llama-v3", PreTokenizer::llama3, true, true},
    {"falcon3", PreTokenizer::llama3, true, true},
    {"falcon-h1", PreTokenizer::llama3, true, true},
    {"pixtral", PreTokenizer::llama3, true, true},
    {"lfm2", PreTokenizer::llama3, true, true},
    {"dbrx", PreTokenizer::llama3},
    {"smaug-bpe", PreTokenizer::llama3},
    {"glm4", PreTokenizer::llama3},
    {"chatglm-bpe", PreTokenizer::llama3},
    {"qwen2", PreTokenizer::qwen2},
    {"deepseek-r1-qwen", PreTokenizer::qwen2},
    {"megrez", PreTokenizer::qwen2},
    {"stablelm2", PreTokenizer::qwen2},
    {"hunyuan", PreTokenizer::qwen2},
    {"grok-2", PreTokenizer::qwen2},
    {"gpt-2", PreTokenizer::gpt2},
    {"phi-2", PreTokenizer::gpt2},
    {"mpt", PreTokenizer::gpt2},
    {"olmo", PreTokenizer::gpt2},
    {"jais", PreTokenizer::gpt2},
    {"trillion", PreTokenizer::gpt2},
    {"exaone4", PreTokenizer::gpt2},
    {"gigachat", PreTokenizer::gpt2},
    {"starcoder", PreTokenizer::starcoder},
    {"smollm", PreTokenizer::starcoder},
    {"refact", PreTokenizer::starcoder},
    {"command-r", PreTokenizer::starcoder},
    {"codeshell", PreTokenizer::starcoder},
    {"exaone", PreTokenizer::starcoder},
    {"minerva-7b", PreTokenizer::starcoder},
    {"deepseek-llm", PreTokenizer::deepseek_llm},
    {"deepseek-coder", PreTokenizer::deepseek_coder},
    {"deepseek-v3", PreTokenizer::deepseek_v3},
    {"tekken", PreTokenizer::tekken, true, true},
    {"gpt-4o", PreTokenizer::gpt4o},
    {"llama4", PreTokenizer::gpt4o},
};

const PreTokenizerName& pre_tokenizer(const Gguf& gguf) {
  const auto name = gguf.get_if<std::string_view>(key("pre")).value_or("default");
  const auto found = std::ranges::find(pre_tokenizer_names, name, &PreTokenizerName::name);
  if (found == std::end(pre_tokenizer_names))
    fail(ENOTSUP, "the model's tokenizer cuts text by the rules called {}, which llmos does not know", quote(name));
  return *found;
}

void read_kind(const Gguf& gguf, VocabularySource& source) {
  const std::string_view model = gguf.string(key("model"));
  if (model == "llama") {
    source.kind = TokenizerKind::spm;
    source.special = {.bos = 1, .eos = 2, .unknown = 0, .add_bos = true, .add_space_prefix = true};
  } else if (model == "gpt2") {
    const PreTokenizerName& rules = pre_tokenizer(gguf);
    source.kind = TokenizerKind::byte_bpe;
    source.pre_tokenizer = rules.how;
    source.ignore_merges = rules.ignore_merges;
    source.special.add_bos = rules.add_bos;
  } else if (model == "gemma4") {
    source.kind = TokenizerKind::char_bpe;
    source.special.add_bos = true;
  } else {
    fail(ENOTSUP, "the model's tokenizer is of the kind {}; llmos has \"llama\", \"gpt2\" and \"gemma4\"",
         quote(model));
  }
}

std::vector<std::string_view> read_strings(const Gguf& gguf, std::string_view name) {
  const GgufArray array = gguf.array(key(name));
  std::vector<std::string_view> strings;
  strings.reserve(array.size());
  for (const std::string_view text : array.strings()) strings.push_back(text);
  return strings;
}

void check_length(std::string_view name, uint64_t found, size_t tokens) {
  if (found < tokens) fail(EBADMSG, "GGUF: key {} has {} elements for {} tokens", quote(key(name)), found, tokens);
}

void read_scores(const Gguf& gguf, VocabularySource& source) {
  if (source.kind != TokenizerKind::spm || !gguf.contains(key("scores"))) return;
  source.scores = gguf.array(key("scores")).copy<float>();
  check_length("scores", source.scores.size(), source.tokens.size());
  source.scores.resize(source.tokens.size());
}

void read_types(const Gguf& gguf, VocabularySource& source) {
  const auto types = gguf.get_if<GgufArray>(key("token_type"));
  if (!types) return;
  check_length("token_type", types->size(), source.tokens.size());
  source.types.reserve(source.tokens.size());
  for (const int32_t type : types->copy<int32_t>()) {
    const bool known = type >= 0 && type <= static_cast<int32_t>(TokenType::byte);
    source.types.push_back(known ? static_cast<TokenType>(type) : TokenType::undefined);
  }
  source.types.resize(source.tokens.size());
}

void read_special(const Gguf& gguf, VocabularySource& source) {
  const auto size = static_cast<int64_t>(source.tokens.size());
  // Some files say -1 or 4294967295 for "none".
  const auto read_id = [&](std::string_view name, TokenId& id) {
    const auto value = gguf.get_if<int64_t>(key(name));
    if (value && *value >= 0 && *value < size) id = static_cast<TokenId>(*value);
    if (id >= size) id = no_token;
  };
  SpecialTokens& special = source.special;
  read_id("bos_token_id", special.bos);
  read_id("eos_token_id", special.eos);
  read_id("eot_token_id", special.eot);
  read_id("unknown_token_id", special.unknown);
  read_id("padding_token_id", special.padding);
  const bool always_bos = source.kind == TokenizerKind::char_bpe;  // Gemma 4 does not work without, whatever files say
  special.add_bos = always_bos || gguf.get_if<bool>(key("add_bos_token")).value_or(special.add_bos);
  special.add_eos = gguf.get_if<bool>(key("add_eos_token")).value_or(special.add_eos);
  if (source.kind == TokenizerKind::spm)
    special.add_space_prefix = gguf.get_if<bool>(key("add_space_prefix")).value_or(special.add_space_prefix);
}

}  // namespace

VocabularySource read_vocabulary(const Gguf& gguf) {
  VocabularySource source;
  read_kind(gguf, source);
  source.tokens = read_strings(gguf, "tokens");
  if (source.kind != TokenizerKind::spm) source.merges = read_strings(gguf, "merges");
  read_scores(gguf, source);
  read_types(gguf, source);
  read_special(gguf, source);
  return source;
}

Tokenizer make_tokenizer(const Gguf& gguf) { return Tokenizer(Vocabulary::build(read_vocabulary(gguf))); }

}  // namespace llmos::core
