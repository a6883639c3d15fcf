// SPDX-License-Identifier: MIT
// From the logits of a position to the next token.
//
// The steps and their order are llama.cpp's default chain:
//   logit bias → penalties → top-k → top-p → min-p → temperature → draw
// Each step is skipped at its neutral value. The draw is by xoshiro256** seeded through splitmix64, so the same seed,
// options and logits give the same tokens on every machine.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "text/candidate.hpp"
#include "text/vocabulary.hpp"

namespace llmos::core {

struct LogitBias {
  TokenId token;
  float bias;  // added to the logit; -infinity forbids the token
};

struct SamplerOptions {
  float temperature = 0.8f;        // 0: always the most probable token (greedy)
  uint32_t top_k = 40;             // the k most probable tokens; 0: all
  float top_p = 0.95f;             // the fewest tokens whose probabilities sum to p; 1: all
  float min_p = 0.05f;             // tokens at least this fraction as probable as the best; 0: all
  float repeat_penalty = 1.0f;     // divides positive, multiplies negative logits of recent tokens; 1: none
  float frequency_penalty = 0.0f;  // subtracted once per recent occurrence
  float presence_penalty = 0.0f;   // subtracted once from every recent token
  int32_t penalty_last_n = 64;     // how many accepted tokens are recent; -1: all, 0: none
  std::vector<LogitBias> logit_bias;
  uint64_t seed = 0;
  uint32_t log_probabilities = 0;  // how many alternatives Sample::top lists
};

struct TokenProbability {
  TokenId token;
  float log_probability;  // natural logarithm, of the model's own distribution: before bias, penalties and temperature
};

struct Sample {
  TokenId token;
  float log_probability;              // as above; NaN unless SamplerOptions::log_probabilities was asked for
  std::vector<TokenProbability> top;  // the most probable tokens, best first
};

// A generator whose sequence is fixed by its definition: xoshiro256** 1.0 (Blackman, Vigna), seeded by splitmix64.
class Random {
 public:
  explicit Random(uint64_t seed);
  uint64_t next();
  double uniform();  // in [0, 1), 53 bits

 private:
  std::array<uint64_t, 4> state_;
};

// One per sequence; not thread-safe.
class Sampler {
 public:
  // Fails with EINVAL for options out of range and biases of tokens outside the vocabulary.
  Sampler(SamplerOptions options, uint32_t vocabulary_size);

  // Chooses the token that follows. Fails with EINVAL for a wrong number of logits and with EDOM when one is NaN or
  // +infinity or when none is possible; -infinity means impossible. Does not accept() the choice.
  Sample sample(std::span<const float> logits);

  // What may be enough to make the next sample of; count 0: it takes all logits. May change with accept().
  BestWanted best_wanted() const;

  // Whether these, found as wanted, are sure to give the same choice as all logits: what is left of the others after
  // top-k, top-p and min-p is nothing, however the sum of their weights was rounded.
  bool enough(const BestLogits& best) const;

  // The same choice from the best logits alone. EINVAL when they are not enough.
  Sample sample(const BestLogits& best);

  // Counts a token, of the prompt or sampled, as recent. Fails with EINVAL for a token outside the vocabulary.
  void accept(TokenId token);

  // Forgets the recent tokens and starts the random sequence anew.
  void reset();

 private:
  void bias_and_penalise();
  void check_logits() const;
  TokenId greedy() const;
  TokenId draw();
  TokenId draw_from_candidates();
  bool limits_count() const { return options_.top_k > 0 && options_.top_k < vocabulary_size_; }
  bool has_all(const BestLogits& best) const;
  std::optional<size_t> kept_of(const BestLogits& best) const;
  size_t reaching_top_p(std::span<const Candidate> sorted, double total) const;
  float least_logit(double best) const;
  void keep_top_k();
  void keep_top_p();
  void keep_min_p();
  TokenId draw_by_temperature();
  double total_weight(double temperature) const;
  void report(std::span<const float> logits, Sample& sample);

  SamplerOptions options_;
  uint32_t vocabulary_size_;
  Random random_;
  std::deque<TokenId> recent_;
  std::unordered_map<TokenId, uint32_t> recent_counts_;
  std::vector<float> logits_;          // of this position, biased and penalised
  std::vector<Candidate> candidates_;  // what is left of them
  bool sorted_ = false;                // the candidates stand best first
  double best_logit_ = 0;
};

// ln Σ exp(logit): a token's log-probability is its logit less this. -infinity when all are.
double log_sum_exp(std::span<const float> logits);

}  // namespace llmos::core
