// SPDX-License-Identifier: MIT
// Each step of the sampler, on cases small enough to do by hand.
#include <gtest/gtest.h>

#include <cerrno>
#include <cmath>
#include <set>

#include "support/failure.hpp"
#include "text/sampler.hpp"

namespace llmos {
namespace {

using core::Sampler;
using core::SamplerOptions;
using core::TokenId;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr SamplerOptions everything{.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0};

// The tokens that can come out.
std::set<TokenId> possible(SamplerOptions options, const std::vector<float>& logits,
                           const std::vector<TokenId>& accepted = {}) {
  Sampler sampler(std::move(options), static_cast<uint32_t>(logits.size()));
  for (const TokenId token : accepted) sampler.accept(token);
  std::set<TokenId> tokens;
  for (int draw = 0; draw < 3000; ++draw) tokens.insert(sampler.sample(logits).token);
  return tokens;
}

TokenId greedy(SamplerOptions options, const std::vector<float>& logits, const std::vector<TokenId>& accepted = {}) {
  options.temperature = 0;
  Sampler sampler(std::move(options), static_cast<uint32_t>(logits.size()));
  for (const TokenId token : accepted) sampler.accept(token);
  return sampler.sample(logits).token;
}

std::vector<float> logs(std::vector<float> probabilities) {
  for (float& value : probabilities) value = std::log(value);
  return probabilities;
}

TEST(SamplerSteps, GreedyTakesTheBestAndOfEqualsTheFirst) {
  EXPECT_EQ(greedy({}, {1, 3, 2}), 1);
  EXPECT_EQ(greedy({}, {1, 3, 3}), 1);
  EXPECT_EQ(greedy({}, {-infinity, -5, -infinity}), 1);
}

TEST(SamplerSteps, TopK) {
  SamplerOptions options = everything;
  const std::vector<float> logits{0, 0.4f, 0.1f, 0.3f, 0.2f};
  options.top_k = 1;
  EXPECT_EQ(possible(options, logits), (std::set<TokenId>{1}));
  options.top_k = 3;
  EXPECT_EQ(possible(options, logits), (std::set<TokenId>{1, 3, 4}));
  EXPECT_EQ(possible(options, {0, 0, 0, 0}), (std::set<TokenId>{0, 1, 2}));  // of equals, the first
  options.top_k = 50;
  EXPECT_EQ(possible(options, logits).size(), 5u);
  options.top_k = 3;
  EXPECT_EQ(possible(options, {-infinity, 0, -infinity, -infinity}), (std::set<TokenId>{1}));
}

TEST(SamplerSteps, TopPKeepsTheTokenThatReachesP) {
  SamplerOptions options = everything;
  const auto logits = logs({0.1f, 0.4f, 0.2f, 0.3f});
  const auto with = [&](float p) {
    options.top_p = p;
    return possible(options, logits);
  };
  EXPECT_EQ(with(0.01f), (std::set<TokenId>{1}));
  EXPECT_EQ(with(0.39f), (std::set<TokenId>{1}));
  EXPECT_EQ(with(0.41f), (std::set<TokenId>{1, 3}));
  EXPECT_EQ(with(0.69f), (std::set<TokenId>{1, 3}));
  EXPECT_EQ(with(0.71f), (std::set<TokenId>{1, 2, 3}));
  EXPECT_EQ(with(0.95f).size(), 4u);
  EXPECT_EQ(with(1).size(), 4u);
}

TEST(SamplerSteps, TopPIsOfWhatTopKLeft) {
  SamplerOptions options = everything;
  options.top_k = 2;  // 0.4 and 0.3 become 4/7 and 3/7
  options.top_p = 0.5f;
  EXPECT_EQ(possible(options, logs({0.1f, 0.4f, 0.2f, 0.3f})), (std::set<TokenId>{1}));
  options.top_p = 0.6f;
  EXPECT_EQ(possible(options, logs({0.1f, 0.4f, 0.2f, 0.3f})), (std::set<TokenId>{1, 3}));
}

TEST(SamplerSteps, TopPSortedAndUnsortedAgree) {
  std::vector<float> logits;
  for (int token = 0; token < 1000; ++token) logits.push_back(static_cast<float>(token * 7919 % 1000) / 100);
  for (const float p : {0.1f, 0.5f, 0.9f, 0.999f}) {
    SamplerOptions heap = everything, sorted = everything;
    heap.top_p = sorted.top_p = p;
    sorted.top_k = 999;
    heap.seed = sorted.seed = 9;
    Sampler first(heap, 1000), second(sorted, 1000);
    for (int draw = 0; draw < 50; ++draw) ASSERT_EQ(first.sample(logits).token, second.sample(logits).token);
  }
}

TEST(SamplerSteps, MinPIsAFractionOfTheBest) {
  SamplerOptions options = everything;
  const auto logits = logs({0.1f, 0.4f, 0.2f, 0.3f});
  options.min_p = 0.45f;
  EXPECT_EQ(possible(options, logits), (std::set<TokenId>{1, 2, 3}));
  options.min_p = 0.55f;
  EXPECT_EQ(possible(options, logits), (std::set<TokenId>{1, 3}));
  options.min_p = 1;
  EXPECT_EQ(possible(options, logits), (std::set<TokenId>{1}));
}

TEST(SamplerSteps, TruncationComesBeforeTemperature) {
  SamplerOptions options = everything;
  options.min_p = 0.55f;
  options.temperature = 100;  // would make all alike if it came first
  EXPECT_EQ(possible(options, logs({0.1f, 0.4f, 0.2f, 0.3f})), (std::set<TokenId>{1, 3}));
}

TEST(SamplerSteps, RepeatPenaltyDividesPositiveAndMultipliesNegativeLogits) {
  SamplerOptions options;
  options.repeat_penalty = 2;
  EXPECT_EQ(greedy(options, {4, 3}, {0}), 1);        // 2 < 3
  EXPECT_EQ(greedy(options, {4, 1.9f}, {0}), 0);     // 2 > 1.9
  EXPECT_EQ(greedy(options, {-1, -1.9f}, {0}), 1);   // -2 < -1.9
  EXPECT_EQ(greedy(options, {-1, -2.1f}, {0}), 0);   // -2 > -2.1
  EXPECT_EQ(greedy(options, {4, 1.9f}, {0, 0}), 0);  // once, however often it came
}

TEST(SamplerSteps, FrequencyPenaltyCountsAndPresencePenaltyDoesNot) {
  SamplerOptions frequency;
  frequency.frequency_penalty = 1;
  EXPECT_EQ(greedy(frequency, {3, 0.5f}, {0, 0}), 0);
  EXPECT_EQ(greedy(frequency, {3, 0.5f}, {0, 0, 0}), 1);
  SamplerOptions presence;
  presence.presence_penalty = 1;
  EXPECT_EQ(greedy(presence, {3, 1.5f}, {0, 0, 0}), 0);
  EXPECT_EQ(greedy(presence, {3, 2.5f}, {0}), 1);
}

TEST(SamplerSteps, OnlyTheLastTokensAreRecent) {
  SamplerOptions options;
  options.presence_penalty = 1;
  options.penalty_last_n = 2;
  EXPECT_EQ(greedy(options, {1, 0.5f, 0}, {0, 2}), 1);
  EXPECT_EQ(greedy(options, {1, 0.5f, 0}, {0, 2, 2}), 0);
  EXPECT_EQ(greedy(options, {1, 0.5f, 0}, {0, 0, 2, 2}), 0);
  EXPECT_EQ(greedy(options, {1, 0.5f, 0}, {0, 2, 0}), 1);
  options.penalty_last_n = 0;
  EXPECT_EQ(greedy(options, {1, 0.5f, 0}, {0}), 0);
  options.penalty_last_n = -1;
  std::vector<TokenId> many(1000, 2);
  many[0] = 0;
  EXPECT_EQ(greedy(options, {1, 0.5f, 0}, many), 1);
}

TEST(SamplerSteps, ResetForgetsRecentTokens) {
  SamplerOptions options;
  options.temperature = 0;
  options.presence_penalty = 1;
  Sampler sampler(options, 2);
  sampler.accept(0);
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 0.5f}).token, 1);
  sampler.reset();
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 0.5f}).token, 0);
}

TEST(SamplerSteps, LogitBias) {
  SamplerOptions options;
  options.logit_bias = {{2, 5}, {1, -infinity}};
  EXPECT_EQ(greedy(options, {0, 9, -3}), 2);
  options.logit_bias = {{0, 1}, {0, 1}};  // biases of one token add up
  EXPECT_EQ(greedy(options, {0, 1.5f}), 0);
  SamplerOptions before = {};  // the bias comes before the penalty, which then sees a positive logit
  before.logit_bias = {{0, 6}};
  before.repeat_penalty = 4;
  EXPECT_EQ(greedy(before, {-2, 0.9f}, {0}), 0);
  EXPECT_EQ(greedy(before, {-2, 1.1f}, {0}), 1);
}

TEST(SamplerSteps, LogProbabilitiesAreTheModelsOwn) {
  SamplerOptions options = everything;
  options.temperature = 0;
  options.log_probabilities = 3;
  options.logit_bias = {{0, 10}};
  Sampler sampler(options, 4);
  const core::Sample sample = sampler.sample(logs({0.1f, 0.4f, 0.2f, 0.3f}));
  EXPECT_EQ(sample.token, 0);
  EXPECT_NEAR(std::exp(sample.log_probability), 0.1, 1e-6);
  ASSERT_EQ(sample.top.size(), 3u);
  EXPECT_EQ(sample.top[0].token, 1);
  EXPECT_EQ(sample.top[1].token, 3);
  EXPECT_EQ(sample.top[2].token, 2);
  EXPECT_NEAR(std::exp(sample.top[0].log_probability), 0.4, 1e-6);
  EXPECT_NEAR(std::exp(sample.top[2].log_probability), 0.2, 1e-6);
  EXPECT_TRUE(std::isnan(Sampler({}, 2).sample(std::vector<float>{0, 0}).log_probability));
}

TEST(SamplerSteps, LogSumExp) {
  EXPECT_NEAR(core::log_sum_exp(std::vector<float>{0, 0}), std::log(2), 1e-12);
  EXPECT_NEAR(core::log_sum_exp(std::vector<float>{1000, 1000}), 1000 + std::log(2), 1e-9);
  EXPECT_EQ(core::log_sum_exp(std::vector<float>{-infinity, 3}), 3);
  EXPECT_EQ(core::log_sum_exp(std::vector<float>{-infinity}), -infinity);
  EXPECT_EQ(core::log_sum_exp({}), -infinity);
}

TEST(SamplerSteps, BrokenLogitsAreErrors) {
  for (const float temperature : {0.0f, 1.0f}) {
    SamplerOptions options;
    options.temperature = temperature;
    Sampler sampler(options, 3);
    const auto sample = [&](std::vector<float> logits) { return sampler.sample(logits); };
    EXPECT_FAILURE(EDOM, "the logit of token 1 is nan", sample({0, NAN, 0}));
    EXPECT_FAILURE(EDOM, "the logit of token 2 is inf", sample({0, 0, infinity}));
    EXPECT_FAILURE(EDOM, "no token is possible", sample({-infinity, -infinity, -infinity}));
    EXPECT_FAILURE(EINVAL, "2 logits for a vocabulary of 3 tokens", sample({0, 0}));
    EXPECT_EQ(sample({-infinity, 0, -infinity}).token, 1);
  }
}

TEST(SamplerSteps, OptionsOutOfRangeAreErrors) {
  const auto with = [](auto change) {
    SamplerOptions options;
    change(options);
    Sampler(options, 10);
  };
  EXPECT_FAILURE(EINVAL, "temperature is -1", with([](auto& o) { o.temperature = -1; }));
  EXPECT_FAILURE(EINVAL, "temperature is nan", with([](auto& o) { o.temperature = NAN; }));
  EXPECT_FAILURE(EINVAL, "top_p is 0", with([](auto& o) { o.top_p = 0; }));
  EXPECT_FAILURE(EINVAL, "top_p is 1.5", with([](auto& o) { o.top_p = 1.5; }));
  EXPECT_FAILURE(EINVAL, "min_p is -0.5", with([](auto& o) { o.min_p = -0.5; }));
  EXPECT_FAILURE(EINVAL, "repeat_penalty is 0", with([](auto& o) { o.repeat_penalty = 0; }));
  EXPECT_FAILURE(EINVAL, "frequency_penalty is inf", with([](auto& o) { o.frequency_penalty = infinity; }));
  EXPECT_FAILURE(EINVAL, "presence_penalty is nan", with([](auto& o) { o.presence_penalty = NAN; }));
  EXPECT_FAILURE(EINVAL, "penalty_last_n is -2", with([](auto& o) { o.penalty_last_n = -2; }));
  EXPECT_FAILURE(EINVAL, "a biased token is 10", with([](auto& o) { o.logit_bias = {{10, 1}}; }));
  EXPECT_FAILURE(EINVAL, "a logit bias is inf", with([](auto& o) { o.logit_bias = {{1, infinity}}; }));
  EXPECT_FAILURE(EINVAL, "a logit bias is nan", with([](auto& o) { o.logit_bias = {{1, NAN}}; }));
  EXPECT_FAILURE(EINVAL, "vocabulary size is 0", Sampler({}, 0));
  EXPECT_FAILURE(EINVAL, "token 10 is not in the vocabulary", Sampler({}, 10).accept(10));
}

}  // namespace
}  // namespace llmos
