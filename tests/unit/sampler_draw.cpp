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

std::vector<core::Candidate> best_of(const std::vector<float>& logits, size_t count) {
  std::vector<core::Candidate> order;
  for (size_t token = 0; token < logits.size(); token++)
    order.push_back({logits[token], static_cast<core::TokenId>(token)});
  std::ranges::stable_sort(order, std::greater(), &core::Candidate::logit);
  order.resize(std::min(count, order.size()));
  return order;
}

double rest_of(const std::vector<float>& logits, const std::vector<core::Candidate>& best) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit} - best.front().logit);
  for (const core::Candidate& one : best) sum -= std::exp(double{one.logit} - best.front().logit);
  return std::max(sum, 0.0);
}

TEST(SamplerDraw, TheBestLogitsAreEnoughForTheSameDraws) {
  Random random(5);
  for (const uint32_t top_k : {1u, 3u, 40u})
    for (const float temperature : {0.0f, 0.7f}) {
      const SamplerOptions options{.temperature = temperature, .top_k = top_k, .top_p = 0.9f, .min_p = 0.01f};
      Sampler all(options, 200), best(options, 200);
      ASSERT_EQ(best.best_wanted().count, temperature == 0 ? 1 : top_k);
      for (int round = 0; round < 50; round++) {
        std::vector<float> logits(200);
        for (float& logit : logits) logit = static_cast<float>(std::floor(random.uniform() * 30)) / 4;  // with ties
        const std::vector<core::Candidate> few = best_of(logits, best.best_wanted().count);
        const core::TokenId token = all.sample(logits).token;
        ASSERT_EQ(best.sample(core::BestLogits{few}).token, token) << top_k << " " << round;
        all.accept(token);
        best.accept(token);
      }
    }
}

// Where the others' weights are known as well as a device knows them, too high or too low.
TEST(SamplerDraw, AFewLogitsAndTheRestGiveTheSameDrawsWhereTheySayTheyAreEnough) {
  constexpr size_t vocabulary = 3000;
  size_t enough = 0, not_enough = 0;
  for (const uint32_t top_k : {0u, 400u, 3000u})
    for (const float top_p : {0.3f, 0.9f, 1.0f})
      for (const float min_p : {0.0f, 0.02f, 0.4f})
        for (const float sharpness : {0.5f, 2.0f, 8.0f}) {
          const SamplerOptions options{.temperature = 1.3f, .top_k = top_k, .top_p = top_p, .min_p = min_p, .seed = 7};
          Sampler all(options, vocabulary), few(options, vocabulary);
          const core::BestWanted wanted = few.best_wanted();
          if (top_p == 1 && min_p == 0) {
            EXPECT_EQ(wanted.count, 0u);
            continue;
          }
          ASSERT_EQ(wanted.count, core::most_best);
          ASSERT_EQ(wanted.rest, top_p < 1);
          Random random(top_k + 3);
          for (int round = 0; round < 12; round++) {
            std::vector<float> logits(vocabulary);
            for (float& logit : logits)
              logit = sharpness * static_cast<float>(std::floor(random.uniform() * random.uniform() * 64)) / 16;
            const auto known = best_of(logits, wanted.count);
            const double error = round % 2 ? core::rest_error : -core::rest_error;
            const core::BestLogits best{known, wanted.rest ? rest_of(logits, known) * (1 + error * 0.99) : 0};
            const core::TokenId token = all.sample(logits).token;
            const bool is_enough = few.enough(best);
            (is_enough ? enough : not_enough)++;
            ASSERT_EQ((is_enough ? few.sample(best) : few.sample(logits)).token, token)
                << top_k << " " << top_p << " " << min_p << " " << sharpness << " " << round << " " << is_enough;
          }
        }
  EXPECT_GT(enough, 200u);
  EXPECT_GT(not_enough, 200u);
}

// 64 of 100 equal tokens are exactly top_p of all: whether they reach it, only all logits can tell.
TEST(SamplerDraw, ANucleusThatHangsOnTheLastDigitsOfTheRestIsNotDrawnFromAFew) {
  std::vector<float> logits(300, -1.0f);
  std::fill_n(logits.begin(), 100, 0.0f);
  const auto known = best_of(logits, 128);
  const core::BestLogits best{known, rest_of(logits, known)};
  const double exact = 64 / (100 + 28 * std::exp(-1.0) + best.rest);
  const auto enough = [&](double top_p, float min_p = 0) {
    const SamplerOptions options{.top_k = 0, .top_p = static_cast<float>(top_p), .min_p = min_p};
    return Sampler(options, 300).enough(best);
  };
  EXPECT_FALSE(enough(exact));
  EXPECT_FALSE(enough(exact * (1 + 1e-6)));
  EXPECT_TRUE(enough(exact * (1 + 1e-5)));
  EXPECT_TRUE(enough(exact * (1 - 1e-5)));
  EXPECT_FALSE(enough(0.7));        // other tokens are among them
  EXPECT_FALSE(enough(0.7, 0.3f));  // and they are probable enough
  EXPECT_TRUE(enough(0.7, 0.5f));   // they are not
}

TEST(SamplerDraw, WhatChangesOtherLogitsWantsThemAll) {
  const auto wanted = [](const SamplerOptions& options) {
    Sampler sampler(options, 100);
    sampler.accept(1);
    return sampler.best_wanted().count;
  };
  EXPECT_EQ(wanted({}), 40u);
  EXPECT_EQ(wanted({.top_k = 0, .top_p = 1, .min_p = 0}), 0u);
  EXPECT_EQ(wanted({.top_k = 100, .top_p = 1, .min_p = 0}), 0u);
  EXPECT_EQ(wanted({.top_k = 100}), 100u);
  EXPECT_EQ(wanted({.repeat_penalty = 1.1f}), 0u);
  EXPECT_EQ(wanted({.repeat_penalty = 1.1f, .penalty_last_n = 0}), 40u);
  EXPECT_EQ(wanted({.presence_penalty = 1}), 0u);
  EXPECT_EQ(wanted({.frequency_penalty = -1}), 0u);
  EXPECT_EQ(wanted({.logit_bias = {{3, 1.0f}}}), 0u);
  EXPECT_EQ(wanted({.temperature = 0, .log_probabilities = 1}), 0u);
}

}  // namespace
}  // namespace llmos
