// SPDX-License-Identifier: MIT
// llmos_engine_*: a model ready to run.
#include <unistd.h>

#include <climits>

#include "c_api/guard.hpp"
#include "c_api/handles.hpp"
#include "engine/measure.hpp"

using namespace llmos::core;

namespace {

const std::shared_ptr<Engine>& of(llmos_engine* engine) {
  need(engine, "engine");
  return engine->engine;
}

template <size_t kSize>
void put(char (&field)[kSize], const std::string& text) {
  const size_t length = std::min(text.size(), kSize - 1);
  std::memcpy(field, text.data(), length);
  field[length] = 0;
}

// The model's index. The kernel's store gets one when there is none, from the model's owner or root, whom the next
// process believes.
std::optional<PreparedIndex> index_of(llmos_model& model) {
  if (auto index = find_index(*model.store, *model.model)) return index;
  if (model.store->kind() != LLMOS_STORE_KERNEL) return std::nullopt;
  try {
    const uid_t self = geteuid();
    if (self != 0 && self != model.model->stat().uid) return std::nullopt;
    prepare(*model.store, *model.model);
  } catch (const Failure&) {  // not ours to store there, or no model to run, which the engine will say better
    return std::nullopt;
  }
  return find_index(*model.store, *model.model);
}

EngineOptions to_options(const llmos_engine_options* given) {
  EngineOptions options;
  if (!given) return options;
  const llmos_engine_options c = sized(given, "options");
  if (c.device) options.backend.device = c.device;
  if (c.kernels) options.backend.kernels = c.kernels;
  if (c.flags & ~(LLMOS_ENGINE_PIN | LLMOS_ENGINE_SHARE | LLMOS_ENGINE_NO_CUBLAS))
    fail(EINVAL, "the engine flags {:#x} are not all known", c.flags);
  if (c.cache_type > LLMOS_CACHE_Q8_0) fail(EINVAL, "there is no cache type {}", c.cache_type);
  options.backend.threads = c.threads;
  options.backend.pin = c.flags & LLMOS_ENGINE_PIN;
  options.backend.cublas = !(c.flags & LLMOS_ENGINE_NO_CUBLAS);
  options.device_share = c.flags & LLMOS_ENGINE_SHARE;
  options.cache_type = c.cache_type == LLMOS_CACHE_Q8_0 ? CacheType::q8_0 : CacheType::f16;
  if (c.batch_tokens) options.batch_tokens = c.batch_tokens;
  options.context = c.context;
  options.cache_bytes = c.cache_bytes;
  return options;
}

int count(size_t value) {
  if (value > INT_MAX) fail(EOVERFLOW, "the result has {} elements, more than fit an int", value);
  return static_cast<int>(value);
}

std::span<const TokenId> span_of(const int32_t* tokens, size_t size) {
  if (size > 0) need(tokens, "tokens");
  return {tokens, size};
}

}  // namespace

int llmos_engine_open(llmos_model* model, const llmos_engine_options* options, llmos_engine** engine) {
  return guarded([&] {
    need(model, "model");
    need(engine, "engine");
    const std::shared_ptr<Model>& owner = model->model;
    EngineOptions ours = to_options(options);
    ours.lane_name = owner->name();
    auto made = std::make_shared<Engine>(owner->bytes(), owner, ours, index_of(*model));
    *engine = new llmos_engine{std::move(made)};
  });
}

int llmos_model_prepare(llmos_model* model) {
  return guarded([&] {
    need(model, "model");
    return prepare(*model->store, *model->model) ? 1 : 0;
  });
}

void llmos_engine_close(llmos_engine* engine) { delete engine; }

int llmos_engine_info_get(llmos_engine* engine, llmos_engine_info* info) {
  return guarded([&] {
    const Engine& from = *of(engine);
    llmos_engine_info c{};
    c.size = sizeof c;
    put(c.architecture, from.config().architecture);
    put(c.device, from.device());
    c.layers = from.config().layers;
    c.width = from.config().width;
    c.vocabulary = from.config().vocabulary;
    c.context = from.context();
    c.trained_context = from.config().context;
    c.cache_bytes = from.cache().capacity() * from.cache().layout().page_bytes();
    give(info, c, "info");
  });
}

int llmos_engine_tokenize(llmos_engine* engine, const char* text, size_t bytes, uint32_t flags, int32_t* tokens,
                          size_t room) {
  return guarded([&] {
    if (bytes > 0) need(text, "text");
    if (room > 0) need(tokens, "tokens");
    const std::vector<TokenId> found = of(engine)->tokenizer().encode(
        {text, bytes},
        {.add_special = !(flags & LLMOS_TEXT_NO_SPECIAL), .parse_special = (flags & LLMOS_TEXT_PARSE_SPECIAL) != 0});
    std::copy_n(found.begin(), std::min(room, found.size()), tokens);
    return count(found.size());
  });
}

int llmos_engine_text(llmos_engine* engine, const int32_t* tokens, size_t size, uint32_t flags, char* text,
                      size_t room) {
  return guarded([&] {
    if (room > 0) need(text, "text");
    const std::string found =
        of(engine)->tokenizer().decode(span_of(tokens, size), {.special = !(flags & LLMOS_TEXT_NO_SPECIAL)});
    std::copy_n(found.begin(), std::min(room, found.size()), text);
    return count(found.size());
  });
}

int llmos_engine_score(llmos_engine* engine, const int32_t* tokens, size_t size, float* log_probabilities,
                       llmos_tokens_fn progress, void* context) {
  return guarded([&] {
    if (size > 0) need(log_probabilities, "log_probabilities");
    const auto tell = [=](size_t done, size_t total) { return !progress || progress(context, done, total) == 0; };
    const std::vector<float> scores = score(of(engine), span_of(tokens, size), tell);
    std::copy(scores.begin(), scores.end(), log_probabilities);
  });
}

int llmos_engine_embed(llmos_engine* engine, const int32_t* tokens, size_t size, int pooling, float* embedding) {
  return guarded([&] {
    need(embedding, "embedding");
    if (pooling != LLMOS_POOLING_MEAN && pooling != LLMOS_POOLING_LAST) fail(EINVAL, "there is no pooling {}", pooling);
    const Pooling how = pooling == LLMOS_POOLING_MEAN ? Pooling::mean : Pooling::last;
    const std::vector<float> found = embed(of(engine), span_of(tokens, size), how);
    std::copy(found.begin(), found.end(), embedding);
  });
}
