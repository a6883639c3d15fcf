// SPDX-License-Identifier: MIT
#include "text/sampler.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>

#include "system/error.hpp"

namespace llmos::core {
namespace {

constexpr float impossible = -std::numeric_limits<float>::infinity();

void check(const SamplerOptions& options, uint32_t vocabulary_size) {
  const auto require = [](bool holds, std::string_view name, auto value, std::string_view range) {
    if (!holds) fail(EINVAL, "sampler: {} is {}; {} is possible", name, value, range);
  };
  require(vocabulary_size > 0, "vocabulary size", vocabulary_size, "at least 1");
  require(options.temperature >= 0 && std::isfinite(options.temperature), "temperature", options.temperature,
          "0 and more");
  require(options.top_p > 0 && options.top_p <= 1, "top_p", options.top_p, "more than 0, up to 1,");
  require(options.min_p >= 0 && options.min_p <= 1, "min_p", options.min_p, "0 to 1");
  require(options.repeat_penalty > 0 && std::isfinite(options.repeat_penalty), "repeat_penalty", options.repeat_penalty,
          "more than 0");
  require(std::isfinite(options.frequency_penalty), "frequency_penalty", options.frequency_penalty, "a finite number");
  require(std::isfinite(options.presence_penalty), "presence_penalty", options.presence_penalty, "a finite number");
  require(options.penalty_last_n >= -1, "penalty_last_n", options.penalty_last_n, "-1 and more");
  for (const LogitBias& bias : options.logit_bias) {
    require(bias.token >= 0 && static_cast<uint32_t>(bias.token) < vocabulary_size, "a biased token", bias.token,
            "a token of the vocabulary");
    require(bias.bias < std::numeric_limits<float>::infinity(), "a logit bias", bias.bias, "a number or -infinity");
  }
}

// More probable first; of equals, the lower id.
constexpr auto better = [](const auto& a, const auto& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
};

// How probable a candidate is beside the best one.
double weight(const Candidate& candidate, double best, double temperature) {
  return std::exp((static_cast<double>(candidate.logit) - best) / temperature);
}

// The best `count` of the logits, best first, without sorting the rest. -infinity never is among them.
void select_best(std::span<const float> logits, size_t count, std::vector<Candidate>& best) {
  best.clear();
  for (size_t token = 0; token < logits.size(); ++token) {
    const bool full = best.size() == count;
    if (logits[token] <= (full ? best.front().logit : impossible)) continue;  // of equals, the first stays
    if (full) {
      std::ranges::pop_heap(best, better);
      best.pop_back();
    }
    best.push_back({logits[token], static_cast<TokenId>(token)});
    std::ranges::push_heap(best, better);
  }
  std::ranges::sort_heap(best, better);
}

}  // namespace

Random::Random(uint64_t seed) {
  for (uint64_t& word : state_) {  // splitmix64
    seed += 0x9e3779b97f4a7c15;
    uint64_t z = seed;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    word = z ^ z >> 31;
  }
}

uint64_t Random::next() {  // xoshiro256** 1.0
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

double Random::uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

Sampler::Sampler(SamplerOptions options, uint32_t vocabulary_size)
    : options_(std::move(options)), vocabulary_size_(vocabulary_size), random_(options_.seed) {
  check(options_, vocabulary_size_);
}

void Sampler::reset() {
  random_ = Random(options_.seed);
  recent_.clear();
  recent_counts_.clear();
}

void Sampler::accept(TokenId token) {
  if (token < 0 || static_cast<uint32_t>(token) >= vocabulary_size_)
    fail(EINVAL, "sampler: token {} is not in the vocabulary, which has {} tokens", token, vocabulary_size_);
  if (options_.penalty_last_n == 0) return;
  recent_.push_back(token);
  ++recent_counts_[token];
  if (options_.penalty_last_n < 0 || recent_.size() <= static_cast<size_t>(options_.penalty_last_n)) return;
  const auto oldest = recent_counts_.find(recent_.front());
  if (--oldest->second == 0) recent_counts_.erase(oldest);
  recent_.pop_front();
}

Sample Sampler::sample(std::span<const float> logits) {
  if (logits.size() != vocabulary_size_)
    fail(EINVAL, "sampler: {} logits for a vocabulary of {} tokens", logits.size(), vocabulary_size_);
  logits_.assign(logits.begin(), logits.end());
  bias_and_penalise();
  check_logits();
  Sample sample{options_.temperature == 0 ? greedy() : draw(), std::numeric_limits<float>::quiet_NaN(), {}};
  if (options_.log_probabilities > 0) report(logits, sample);
  return sample;
}

BestWanted Sampler::best_wanted() const {
  const bool penalises =
      options_.repeat_penalty != 1 || options_.frequency_penalty != 0 || options_.presence_penalty != 0;
  if (!options_.logit_bias.empty() || options_.log_probabilities > 0) return {};
  if (penalises && !recent_counts_.empty()) return {};
  if (options_.temperature == 0) return {1, false};
  if (limits_count() && options_.top_k <= most_best) return {options_.top_k, false};
  if (options_.top_p >= 1 && options_.min_p <= 0) return {};  // any token may be drawn
  return {std::min<size_t>(most_best, vocabulary_size_), options_.top_p < 1};
}

// Whether no other token is left after top-k.
bool Sampler::has_all(const BestLogits& best) const {
  const size_t known = best.candidates.size();
  return known < best_wanted().count || known == vocabulary_size_ || (limits_count() && options_.top_k <= known);
}

bool Sampler::enough(const BestLogits& best) const {
  if (best.candidates.empty() || best_wanted().count == 0) return false;
  return options_.temperature == 0 || has_all(best) || kept_of(best);
}

Sample Sampler::sample(const BestLogits& best) {
  if (!enough(best)) fail(EINVAL, "sampler: {} candidates are not enough", best.candidates.size());
  const auto by_token = [&] { std::ranges::sort(candidates_, {}, &Candidate::token); };
  const auto sample = [](TokenId token) { return Sample{token, std::numeric_limits<float>::quiet_NaN(), {}}; };
  if (options_.temperature == 0) return sample(best.candidates.front().token);
  candidates_.assign(best.candidates.begin(), best.candidates.end());
  if (has_all(best)) {
    sorted_ = limits_count();
    if (!sorted_)
      by_token();
    else if (options_.top_k < candidates_.size())
      candidates_.resize(options_.top_k);
    return sample(draw_from_candidates());
  }
  candidates_.resize(*kept_of(best));
  best_logit_ = candidates_.front().logit;
  if (options_.top_p >= 1 && !limits_count()) by_token();  // the order in which draw() goes through them
  return sample(draw_by_temperature());
}

void Sampler::bias_and_penalise() {
  for (const LogitBias& bias : options_.logit_bias) logits_[static_cast<size_t>(bias.token)] += bias.bias;
  for (const auto& [token, count] : recent_counts_) {
    float& logit = logits_[static_cast<size_t>(token)];
    logit = logit <= 0 ? logit * options_.repeat_penalty : logit / options_.repeat_penalty;
    logit -= static_cast<float>(count) * options_.frequency_penalty + options_.presence_penalty;
  }
}

void Sampler::check_logits() const {
  // Neither NaN nor +infinity is less than +infinity.
  const auto sound = [](float logit) { return logit < std::numeric_limits<float>::infinity(); };
  const auto bad = std::ranges::find_if_not(logits_, sound);
  if (bad != logits_.end()) fail(EDOM, "sampler: the logit of token {} is {}", bad - logits_.begin(), *bad);
}

TokenId Sampler::greedy() const {
  const auto best = std::ranges::max_element(logits_);
  if (*best == impossible) fail(EDOM, "sampler: no token is possible");
  return static_cast<TokenId>(best - logits_.begin());
}

TokenId Sampler::draw() {
  keep_top_k();
  if (candidates_.empty()) fail(EDOM, "sampler: no token is possible");
  return draw_from_candidates();
}

TokenId Sampler::draw_from_candidates() {
  best_logit_ = std::ranges::min(candidates_, better).logit;
  keep_top_p();
  keep_min_p();
  return draw_by_temperature();
}

void Sampler::keep_top_k() {
  sorted_ = limits_count();
  if (sorted_) return select_best(logits_, options_.top_k, candidates_);
  candidates_.clear();
  for (size_t token = 0; token < logits_.size(); ++token)
    if (logits_[token] != impossible) candidates_.push_back({logits_[token], static_cast<TokenId>(token)});
}

double Sampler::total_weight(double temperature) const {
  double total = 0;
  for (const Candidate& candidate : candidates_) total += weight(candidate, best_logit_, temperature);
  return total;
}

// The best candidates, one after another, until their weights reach top_p of all. Unsorted ones come off a heap, so
// that only as many are sorted as are kept.
void Sampler::keep_top_p() {
  if (options_.top_p >= 1) return;
  constexpr auto worse = [](const Candidate& a, const Candidate& b) { return better(b, a); };
  const double total = total_weight(1);
  if (sorted_) return candidates_.resize(std::min(candidates_.size(), reaching_top_p(candidates_, total)));
  double left = options_.top_p * total;
  size_t kept = 0;
  std::ranges::make_heap(candidates_, worse);
  while (kept < candidates_.size() && (left > 0 || kept == 0)) {
    std::pop_heap(candidates_.begin(), candidates_.end() - static_cast<ptrdiff_t>(kept), worse);
    left -= weight(candidates_[candidates_.size() - 1 - kept], best_logit_, 1);
    ++kept;
  }
  std::ranges::reverse(candidates_);  // the heap's pops went to the end, the best one last
  candidates_.resize(kept);
}

// How many of the best reach top_p of a total weight; one more than there are where all of them do not.
size_t Sampler::reaching_top_p(std::span<const Candidate> sorted, double total) const {
  double left = options_.top_p * total;
  for (size_t kept = 0; kept < sorted.size(); kept++) {
    left -= weight(sorted[kept], sorted.front().logit, 1);
    if (left <= 0) return kept + 1;
  }
  return sorted.size() + 1;
}

float Sampler::least_logit(double best) const {
  return options_.min_p <= 0 ? impossible : static_cast<float>(best + std::log(options_.min_p));
}

void Sampler::keep_min_p() {
  const float least = least_logit(best_logit_);
  std::erase_if(candidates_, [&](const Candidate& candidate) { return candidate.logit < least; });
}

// How many of the best are left after top-p and min-p; nothing where others may be among them, or where it depends on
// the last digits of the total weight. A higher total never keeps fewer: what holds for both ends of where it lies
// holds between them.
std::optional<size_t> Sampler::kept_of(const BestLogits& best) const {
  const std::span<const Candidate> known = best.candidates;
  const double best_logit = known.front().logit;
  const float least = least_logit(best_logit);
  const auto too_low = std::ranges::find_if(known, [&](const Candidate& one) { return one.logit < least; });
  size_t kept = too_low == known.end() ? known.size() + 1 : static_cast<size_t>(too_low - known.begin());
  if (options_.top_p < 1) {
    double total = 0;
    for (const Candidate& candidate : known) total += weight(candidate, best_logit, 1);
    double low = best.rest * (1 - rest_error), high = best.rest * (1 + rest_error);
    if (limits_count()) {  // only some of the others count
      low = 0;
      high = std::min(high, static_cast<double>(options_.top_k - known.size()) * weight(known.back(), best_logit, 1));
    }
    constexpr double order = 1e-9;  // what sums of a vocabulary's doubles in another order may differ by
    const size_t fewest = reaching_top_p(known, (total + low) * (1 - order));
    const size_t most = reaching_top_p(known, (total + high) * (1 + order));
    if (std::min(kept, fewest) != std::min(kept, most)) return std::nullopt;
    kept = std::min(kept, most);
  }
  if (kept > known.size()) return std::nullopt;
  return kept;
}

TokenId Sampler::draw_by_temperature() {
  const double temperature = options_.temperature;
  double left = random_.uniform() * total_weight(temperature);
  for (const Candidate& candidate : candidates_) {
    left -= weight(candidate, best_logit_, temperature);
    if (left < 0) return candidate.token;
  }
  return candidates_.back().token;  // what rounding left over
}

void Sampler::report(std::span<const float> logits, Sample& sample) {
  const double normaliser = log_sum_exp(logits);
  const auto log_probability = [&](float logit) { return static_cast<float>(logit - normaliser); };
  sample.log_probability = log_probability(logits[static_cast<size_t>(sample.token)]);
  select_best(logits, options_.log_probabilities, candidates_);
  for (const Candidate& candidate : candidates_)
    sample.top.push_back({candidate.token, log_probability(candidate.logit)});
}

double log_sum_exp(std::span<const float> logits) {
  if (logits.empty()) return impossible;
  const double best = *std::ranges::max_element(logits);
  if (best == impossible) return best;
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - best);
  return best + std::log(sum);
}

}  // namespace llmos::core
