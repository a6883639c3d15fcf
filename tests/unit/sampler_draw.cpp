// SPDX-License-Identifier: MIT
// Drawing: the random numbers, and that tokens come as often as their probabilities say.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "text/sampler.hpp"

namespace llmos {
namespace {

using core::Random;
using core::Sampler;
using core::SamplerOptions;

constexpr SamplerOptions everything{.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0};

std::vector<double> softmax(const std::vector<float>& logits, double temperature = 1) {
  std::vector<double> weights;
  for (const float logit : logits) weights.push_back(std::exp(logit / temperature));
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= total;
  return weights;
}

std::vector<int> count_draws(const SamplerOptions& options, const std::vector<float>& logits, int draws) {
  Sampler sampler(options, static_cast<uint32_t>(logits.size()));
  std::vector<int> counts(logits.size());
  for (int draw = 0; draw < draws; ++draw) ++counts[static_cast<size_t>(sampler.sample(logits).token)];
  return counts;
}

// Pearson's statistic: about the number of possible tokens less one when the counts fit.
double chi_square(const std::vector<int>& counts, const std::vector<double>& probabilities) {
  const int draws = std::accumulate(counts.begin(), counts.end(), 0);
  double sum = 0;
  for (size_t token = 0; token < counts.size(); ++token) {
    const double expected = probabilities[token] * draws;
    EXPECT_TRUE(expected > 0 || counts[token] == 0) << token;
    if (expected > 0) sum += (counts[token] - expected) * (counts[token] - expected) / expected;
  }
  return sum;
}

TEST(SamplerDraw, TheGeneratorIsXoshiro256StarStarSeededBySplitmix64) {
  // Made with the authors' published definitions, for seed 0 and seed 42.
  Random zero(0);
  for (const uint64_t expected : {0x99ec5f36cb75f2b4u, 0xbf6e1f784956452au, 0x1a5f849d4933e6e0u, 0x6aa594f1262d2d2cu})
    EXPECT_EQ(zero.next(), expected);
  Random uniform(42);
  const double first = uniform.uniform();
  EXPECT_GE(first, 0.0);
  EXPECT_LT(first, 1.0);
  EXPECT_EQ(first, static_cast<double>(Random(42).next() >> 11) / 9007199254740992.0);
}

TEST(SamplerDraw, FrequenciesFitTheProbabilities) {
  const std::vector<float> logits{0.5f, -1, 2, 1.5f, -0.25f, 0, 1, -3};
  for (const uint64_t seed : {1u, 2u, 3u}) {
    SamplerOptions options = everything;
    options.seed = seed;
    // 7 degrees of freedom: 24.3 is passed once in a thousand.
    EXPECT_LT(chi_square(count_draws(options, logits, 20000), softmax(logits)), 24.3);
  }
}

TEST(SamplerDraw, TheStatisticWouldNoticeAWrongTemperature) {
  const std::vector<float> logits{0.5f, -1, 2, 1.5f, -0.25f, 0, 1, -3};
  SamplerOptions options = everything;
  options.temperature = 1.1f;
  const auto counts = count_draws(options, logits, 20000);
  EXPECT_GT(chi_square(counts, softmax(logits)), 24.3);
  EXPECT_LT(chi_square(counts, softmax(logits, 1.1)), 24.3);
}

TEST(SamplerDraw, ImpossibleTokensAreNeverDrawn) {
  const float never = -std::numeric_limits<float>::infinity();
  const std::vector<float> logits{never, 1, never, 1, never};
  const auto counts = count_draws(everything, logits, 10000);
  EXPECT_LT(chi_square(counts, {0, 0.5, 0, 0.5, 0}), 10.8);  // 1 degree of freedom
}

TEST(SamplerDraw, ASeedFixesTheSequence) {
  const std::vector<float> logits(100, 0.0f);
  const auto sequence = [&](Sampler& sampler) {
    std::vector<core::TokenId> tokens;
    for (int draw = 0; draw < 20; ++draw) tokens.push_back(sampler.sample(logits).token);
    return tokens;
  };
  SamplerOptions options = everything;
  options.seed = 5;
  Sampler first(options, 100), second(options, 100);
  const auto expected = sequence(first);
  EXPECT_EQ(sequence(second), expected);
  EXPECT_NE(sequence(second), expected);  // it goes on
  second.reset();
  EXPECT_EQ(sequence(second), expected);
  options.seed = 6;
  Sampler other(options, 100);
  EXPECT_NE(sequence(other), expected);
}

TEST(SamplerDraw, TheSequenceIsTheSameEverywhere) {
  SamplerOptions options;
  options.seed = 1234;
  std::vector<float> logits;
  for (int token = 0; token < 50; ++token) logits.push_back(static_cast<float>(token * 37 % 50) / 10);
  Sampler sampler(options, 50);
  std::vector<core::TokenId> tokens;
  for (int draw = 0; draw < 12; ++draw) tokens.push_back(sampler.sample(logits).token);
  EXPECT_EQ(tokens, (std::vector<core::TokenId>{27, 28, 43, 5, 27, 32, 35, 4, 39, 16, 12, 4}));
}

TEST(SamplerDraw, TheBestLogitsAreEnoughForTheSameDraws) {
  Random random(5);
  for (const uint32_t top_k : {1u, 3u, 40u})
    for (const float temperature : {0.0f, 0.7f}) {
      const SamplerOptions options{.temperature = temperature, .top_k = top_k, .top_p = 0.9f, .min_p = 0.01f};
      Sampler all(options, 200), best(options, 200);
      ASSERT_EQ(best.candidates_wanted(), temperature == 0 ? 1 : top_k);
      for (int round = 0; round < 50; round++) {
        std::vector<float> logits(200);
        for (float& logit : logits) logit = static_cast<float>(std::floor(random.uniform() * 30)) / 4;  // with ties
        std::vector<core::Candidate> order;
        for (int32_t token = 0; token < 200; token++) order.push_back({logits[static_cast<size_t>(token)], token});
        std::ranges::stable_sort(order, std::greater(), &core::Candidate::logit);
        order.resize(best.candidates_wanted());
        const core::TokenId token = all.sample(logits).token;
        ASSERT_EQ(best.sample(order).token, token) << top_k << " " << round;
        all.accept(token);
        best.accept(token);
      }
    }
}

TEST(SamplerDraw, WhatChangesOtherLogitsWantsThemAll) {
  const auto wanted = [](const SamplerOptions& options) {
    Sampler sampler(options, 100);
    sampler.accept(1);
    return sampler.candidates_wanted();
  };
  EXPECT_EQ(wanted({}), 40u);
  EXPECT_EQ(wanted({.top_k = 0}), 0u);
  EXPECT_EQ(wanted({.top_k = 100}), 0u);
  EXPECT_EQ(wanted({.repeat_penalty = 1.1f}), 0u);
  EXPECT_EQ(wanted({.repeat_penalty = 1.1f, .penalty_last_n = 0}), 40u);
  EXPECT_EQ(wanted({.presence_penalty = 1}), 0u);
  EXPECT_EQ(wanted({.frequency_penalty = -1}), 0u);
  EXPECT_EQ(wanted({.logit_bias = {{3, 1.0f}}}), 0u);
  EXPECT_EQ(wanted({.temperature = 0, .log_probabilities = 1}), 0u);
}

}  // namespace
}  // namespace llmos
