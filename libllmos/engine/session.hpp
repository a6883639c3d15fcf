// SPDX-License-Identifier: MIT
// Text in, text out: a sequence with a sampler, read and continued token by token.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.hpp"
#include "text/sampler.hpp"
#include "text/stop_strings.hpp"
#include "text/tokenizer.hpp"

namespace llmos::core {

struct GenerateOptions {
  size_t max_tokens = 0;  // 0: until the model ends the text or the context is full
  SamplerOptions sampling;
  std::vector<std::string> stop;  // the text ends before any of these
  bool parse_special = false;     // the prompt's "<|user|>" and the like are control tokens
  bool ignore_end = false;        // goes on after the model has ended the text
};

struct GeneratedToken {
  TokenId id;             // no_token: only text that had been held back
  std::string text;       // whole characters; empty while a character or a stop string is unfinished
  float log_probability;  // NaN unless asked for
  std::vector<TokenProbability> top;
};

enum class Finish { not_yet, end_of_text, stop_string, length };

// One stream of text. Belongs to one thread at a time; cancel() is for any thread.
class Session {
 public:
  explicit Session(std::shared_ptr<Engine> engine);

  // Sets out to continue the prompt, which follows what the session has read and written before. Nothing is computed
  // yet. Fails with EINVAL for wrong options, and for an empty prompt where there is nothing to continue and no BOS
  // token.
  void start(std::string_view prompt, const GenerateOptions& options);

  // The next token, or nothing when the text is finished. Computes what must be. Fails as Engine::step() does; after
  // ECANCELED it can be called again.
  std::optional<GeneratedToken> next(const Engine::Progress& progress = {});

  // Brings several sessions of one engine to where next() needs no computing, in one step.
  static void advance(std::span<Session* const> sessions, const Engine::Progress& progress = {});

  void cancel() { sequence_.cancel(); }
  Finish finish() const { return finish_; }
  const Engine& engine() const { return *engine_; }
  size_t position() const { return sequence_.position(); }

  // Forgets everything read and written.
  void reset();

 private:
  std::vector<TokenId> encode(std::string_view prompt, bool parse_special) const;
  bool keep(const BestLogits& best);
  void forget_logits();
  void read_last_again();
  GeneratedToken accept(Sample sample);
  std::optional<GeneratedToken> end(Finish why);

  std::shared_ptr<Engine> engine_;
  Sequence sequence_;
  std::vector<TokenId> unread_;  // prompt or sampled tokens that the model has not seen yet
  TokenId last_read_ = no_token;
  // Of what follows, either all logits or as many of the best as the sampler wanted; empty while tokens are unread.
  std::vector<float> logits_;
  std::vector<Candidate> best_;
  double rest_ = 0;  // what the others weigh
  std::optional<Sampler> sampler_;
  Detokenizer detokenizer_;
  StopStrings stops_;
  GenerateOptions options_;
  size_t generated_ = 0;
  Finish finish_ = Finish::length;  // nothing started
};

}  // namespace llmos::core
