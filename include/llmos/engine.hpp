// SPDX-License-Identifier: MIT
//
// llmos: running a model, in C++. Included by llmos.hpp; header-only over engine.h, whose comments hold here too.
//
//   llmos::Store store;
//   llmos::Engine engine{store.load("gemma-3-270m.gguf"), {.threads = 2}};
//   for (const llmos::Token& token : engine.generate("Why is the sky blue?", {.max_tokens = 64}))
//     std::cout << token.text << std::flush;
#ifndef LLMOS_ENGINE_HPP
#define LLMOS_ENGINE_HPP

#ifndef LLMOS_LLMOS_HPP
#error "include <llmos/llmos.hpp>"
#endif

#include <string_view>

namespace llmos {

enum class CacheType : uint32_t { f16 = LLMOS_CACHE_F16, q8_0 = LLMOS_CACHE_Q8_0 };

// Instead of a number of layers.
inline constexpr int all_layers = LLMOS_LAYERS_ALL, auto_layers = LLMOS_LAYERS_AUTO;

enum class Weights : uint32_t { staged = LLMOS_WEIGHTS_STAGED, in_place = LLMOS_WEIGHTS_IN_PLACE };

struct EngineOptions {
  std::string device = "cpu";  // or "cuda:0", …
  unsigned threads = 0;        // 0: one per CPU this process may use
  uint64_t context = 0;        // tokens a session can hold; 0: as trained, at most 4096
  uint64_t cache_bytes = 0;    // for all sessions together; 0: four full contexts
  CacheType cache_type = CacheType::f16;
  unsigned batch_tokens = 0;          // that go through the layers at once; 0: 512
  bool pin = false;                   // bind each worker thread to one CPU
  bool device_share = false;          // take turns with other engines on this device; needs the kernel module
  std::string kernels = {};           // of the CPU: "portable", "avx2", "avx512", "amx"; empty: the best it has
  int device_layers = all_layers;     // of a CUDA device: layers that run there, the last ones, or auto_layers
  Weights weights = Weights::staged;  // of a CUDA device; the CPU always uses them in place
  bool cublas = true;                 // on CUDA devices: NVIDIA's cuBLASLt for prompts, where it is installed
};

struct EngineInfo {
  std::string architecture, device;
  uint64_t layers = 0, width = 0, vocabulary = 0, context = 0, trained_context = 0, cache_bytes = 0;
  uint64_t device_layers = 0, device_bytes = 0;
};

// How a text is continued; the defaults are llama.cpp's.
struct GenerateOptions {
  uint64_t max_tokens = 0;   // 0: until the text ends or the context is full
  float temperature = 0.8f;  // 0: always the most probable token
  uint32_t top_k = 40;       // 0: all
  float top_p = 0.95f;       // 1: all
  float min_p = 0.05f;       // 0: all
  float repeat_penalty = 1, frequency_penalty = 0, presence_penalty = 0;
  int penalty_last_n = 64;  // tokens that count as recent; -1: all
  uint64_t seed = 0;
  std::vector<std::pair<int32_t, float>> biases{};  // token and what is added to its logit
  std::vector<std::string> stops{};                 // strings that end the text
  unsigned log_probabilities = 0;                   // alternatives to list
  bool parse_special = false;                       // control tokens in the prompt
  bool ignore_end = false;                          // go on where the model ends the text
};

struct TokenProbability {
  int32_t token;
  float log_probability;
};

struct Token {
  int32_t id = -1;   // -1: only text that had been held back
  std::string text;  // whole characters; empty while one is unfinished
  float log_probability = 0;
  std::vector<TokenProbability> alternatives;
};

enum class Finish : int {
  not_yet = LLMOS_FINISH_NOT_YET,
  end_of_text = LLMOS_FINISH_END_OF_TEXT,
  stop_string = LLMOS_FINISH_STOP_STRING,
  length = LLMOS_FINISH_LENGTH,
};

enum class Pooling : int { mean = LLMOS_POOLING_MEAN, last = LLMOS_POOLING_LAST };

class Session;

// The tokens of a text as they are computed: to be walked through once. A session that was given to it is kept alive.
class Generation {
 public:
  class Iterator {
   public:
    using value_type = Token;
    using reference = const Token&;
    using pointer = const Token*;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;

    Iterator() = default;
    explicit Iterator(llmos_session* session) : session_(session) { ++*this; }
    const Token& operator*() const { return token_; }
    const Token* operator->() const { return &token_; }
    Iterator& operator++();
    void operator++(int) { ++*this; }
    bool operator==(const Iterator& other) const { return session_ == other.session_; }

   private:
    llmos_session* session_ = nullptr;  // nullptr: the end
    Token token_;
  };

  Iterator begin() const { return Iterator(session_.get()); }
  Iterator end() const { return {}; }

  // All the text that is left.
  std::string text() const {
    std::string all;
    for (const Token& token : *this) all += token.text;
    return all;
  }

 private:
  friend class Session;
  explicit Generation(std::shared_ptr<llmos_session> session) : session_(std::move(session)) {}
  std::shared_ptr<llmos_session> session_;
};

// One stream of text. One thread at a time may use it; cancel() is for any thread.
class Session {
 public:
  explicit Session(llmos_session* handle) : handle_(handle, llmos_session_close) {}  // takes ownership

  // Continues the prompt, which follows what the session has read and written before.
  Generation generate(std::string_view prompt, const GenerateOptions& options = {}) {
    start(prompt, options);
    return Generation(handle_);
  }

  // The same in two steps, for sessions that advance together.
  void start(std::string_view prompt, const GenerateOptions& options = {});
  std::optional<Token> next() {
    Generation::Iterator token(handle());
    return token == Generation::Iterator() ? std::nullopt : std::optional<Token>(*token);
  }

  // Computes what the next token of each needs in one batch; all must belong to one engine.
  using Progress = std::function<bool(uint64_t done, uint64_t total)>;  // in tokens; false cancels
  static void advance(std::span<Session* const> sessions, const Progress& progress = {});

  void cancel() { llmos_session_cancel(handle()); }
  void reset() { detail::check(llmos_session_reset(handle())); }
  Finish finish() const { return static_cast<Finish>(llmos_session_finish(handle())); }
  uint64_t position() const { return llmos_session_position(handle()); }
  llmos_session* handle() const { return handle_.get(); }

 private:
  std::shared_ptr<llmos_session> handle_;
};

// Makes the model's prepared index, from which every process attaches without parsing; false: a good one was there.
inline bool prepare(const Model& model) { return detail::check(llmos_model_prepare(model.handle())) == 1; }

// A model ready to run on one device.
class Engine {
 public:
  // Holds the model's grant by itself: `model` need not outlive it.
  explicit Engine(const Model& model, const EngineOptions& options = {}) {
    llmos_engine_options c{};
    c.size = sizeof(c);
    c.device = options.device.c_str();
    c.kernels = options.kernels.empty() ? nullptr : options.kernels.c_str();
    c.threads = options.threads;
    c.flags = (options.pin ? LLMOS_ENGINE_PIN : 0) | (options.device_share ? LLMOS_ENGINE_SHARE : 0) |
              (options.cublas ? 0 : LLMOS_ENGINE_NO_CUBLAS);
    c.cache_type = static_cast<uint32_t>(options.cache_type);
    c.batch_tokens = options.batch_tokens;
    c.context = options.context;
    c.cache_bytes = options.cache_bytes;
    c.device_layers = options.device_layers;
    c.weights = static_cast<uint32_t>(options.weights);
    llmos_engine* engine = nullptr;
    detail::check(llmos_engine_open(model.handle(), &c, &engine));
    handle_.reset(engine);
  }

  EngineInfo info() const {
    llmos_engine_info c{};
    c.size = sizeof(c);
    detail::check(llmos_engine_info_get(handle(), &c));
    return {c.architecture, c.device,          c.layers,      c.width,         c.vocabulary,
            c.context,      c.trained_context, c.cache_bytes, c.device_layers, c.device_bytes};
  }

  Session session() const {
    llmos_session* session = nullptr;
    detail::check(llmos_session_open(handle(), &session));
    return Session(session);
  }

  // In a session of its own.
  Generation generate(std::string_view prompt, const GenerateOptions& options = {}) const {
    return session().generate(prompt, options);
  }

  std::vector<int32_t> tokenize(std::string_view text, bool add_special = true, bool parse_special = false) const {
    const uint32_t flags = (add_special ? 0 : LLMOS_TEXT_NO_SPECIAL) | (parse_special ? LLMOS_TEXT_PARSE_SPECIAL : 0);
    std::vector<int32_t> tokens(text.size() + 8);
    const auto call = [&] {
      return static_cast<size_t>(detail::check(
          llmos_engine_tokenize(handle(), text.data(), text.size(), flags, tokens.data(), tokens.size())));
    };
    if (const size_t count = call(); count <= tokens.size()) {
      tokens.resize(count);
      return tokens;
    } else {
      tokens.resize(count);
    }
    call();
    return tokens;
  }

  // Control tokens leave no text unless `special`.
  std::string text(std::span<const int32_t> tokens, bool special = false) const {
    const uint32_t flags = special ? 0 : LLMOS_TEXT_NO_SPECIAL;
    const auto call = [&](std::string& out) {
      return static_cast<size_t>(
          detail::check(llmos_engine_text(handle(), tokens.data(), tokens.size(), flags, out.data(), out.size())));
    };
    std::string out;
    out.resize(call(out));
    call(out);
    return out;
  }

  // The natural logarithm of each token's probability given those before it.
  std::vector<float> score(std::span<const int32_t> tokens, const Session::Progress& progress = {}) const {
    std::vector<float> scores(tokens.size());
    detail::Callback callback([&](uint64_t done, uint64_t total) { return !progress || progress(done, total); });
    callback.finish(llmos_engine_score(handle(), tokens.data(), tokens.size(), scores.data(),
                                       callback.invoke<uint64_t, uint64_t>, &callback));
    return scores;
  }

  // Of length 1.
  std::vector<float> embed(std::string_view text, Pooling pooling = Pooling::mean) const {
    const std::vector<int32_t> tokens = tokenize(text);
    std::vector<float> embedding(info().width);
    detail::check(
        llmos_engine_embed(handle(), tokens.data(), tokens.size(), static_cast<int>(pooling), embedding.data()));
    return embedding;
  }

  llmos_engine* handle() const { return handle_.get(); }

 private:
  detail::Owned<llmos_engine, llmos_engine_close> handle_;
};

inline Generation::Iterator& Generation::Iterator::operator++() {
  llmos_token c{};
  if (detail::check(llmos_session_next(session_, &c)) == 0) {
    session_ = nullptr;
    return *this;
  }
  token_ = {c.id, std::string(c.text, c.text_bytes), c.log_probability, {}};
  for (size_t i = 0; i < c.alternative_count; i++)
    token_.alternatives.push_back({c.alternatives[i].token, c.alternatives[i].log_probability});
  return *this;
}

inline void Session::start(std::string_view prompt, const GenerateOptions& options) {
  llmos_generate_options c;
  llmos_generate_options_init(&c);
  c.max_tokens = options.max_tokens;
  c.seed = options.seed;
  c.flags =
      (options.parse_special ? LLMOS_GENERATE_PARSE_SPECIAL : 0) | (options.ignore_end ? LLMOS_GENERATE_IGNORE_END : 0);
  c.temperature = options.temperature;
  c.top_k = options.top_k;
  c.top_p = options.top_p;
  c.min_p = options.min_p;
  c.repeat_penalty = options.repeat_penalty;
  c.frequency_penalty = options.frequency_penalty;
  c.presence_penalty = options.presence_penalty;
  c.penalty_last_n = options.penalty_last_n;
  c.log_probabilities = options.log_probabilities;
  std::vector<llmos_token_bias> biases;
  for (const auto& [token, bias] : options.biases) biases.push_back({token, bias});
  std::vector<const char*> stops;
  for (const std::string& stop : options.stops) stops.push_back(stop.c_str());
  c.biases = biases.data();
  c.bias_count = biases.size();
  c.stops = stops.data();
  c.stop_count = stops.size();
  detail::check(llmos_session_start(handle(), prompt.data(), prompt.size(), &c));
}

inline void Session::advance(std::span<Session* const> sessions, const Progress& progress) {
  std::vector<llmos_session*> handles;
  for (const Session* session : sessions) handles.push_back(session->handle());
  detail::Callback callback([&](uint64_t done, uint64_t total) { return !progress || progress(done, total); });
  callback.finish(
      llmos_session_advance(handles.data(), handles.size(), callback.invoke<uint64_t, uint64_t>, &callback));
}

}  // namespace llmos

#endif  // LLMOS_ENGINE_HPP
