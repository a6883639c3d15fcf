// SPDX-License-Identifier: MIT
#include "engine/measure.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>

#include "system/error.hpp"

namespace llmos::core {
namespace {

float log_probability(std::span<const float> logits, TokenId token) {
  const float highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit} - highest);
  return static_cast<float>(logits[static_cast<size_t>(token)] - highest - std::log(sum));
}

}  // namespace

std::vector<float> score(const std::shared_ptr<Engine>& engine, std::span<const TokenId> tokens,
                         const Engine::Progress& progress) {
  std::vector<float> scores(tokens.size());
  for (size_t first = 0; first < tokens.size(); first += engine->context()) {
    const auto part = tokens.subspan(first, std::min(engine->context(), tokens.size() - first));
    Sequence sequence(engine);
    const Feed feed{&sequence, part, Feed::Want::all_logits, [&](size_t index, std::span<const float> logits) {
                      if (index + 1 < part.size()) scores[first + index + 1] = log_probability(logits, part[index + 1]);
                    }};
    const auto overall = [&](size_t done, size_t) { return !progress || progress(first + done, tokens.size()); };
    engine->step({&feed, 1}, overall);
  }
  return scores;
}

std::vector<float> embed(const std::shared_ptr<Engine>& engine, std::span<const TokenId> tokens, Pooling pooling,
                         bool normalize) {
  if (tokens.empty()) fail(EINVAL, "an empty text has no embedding");
  std::vector<double> pooled(engine->config().width);
  Sequence sequence(engine);
  const Feed feed{&sequence, tokens, Feed::Want::all_states, [&](size_t index, std::span<const float> state) {
                    if (pooling == Pooling::last && index + 1 != tokens.size()) return;
                    for (size_t i = 0; i < state.size(); i++) pooled[i] += state[i];
                  }};
  engine->step({&feed, 1});

  double scale = pooling == Pooling::mean ? 1.0 / static_cast<double>(tokens.size()) : 1.0;
  if (normalize) {
    double squares = 0;
    for (const double value : pooled) squares += value * value;
    scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
  }
  std::vector<float> result(pooled.size());
  for (size_t i = 0; i < pooled.size(); i++) result[i] = static_cast<float>(pooled[i] * scale);
  return result;
}

}  // namespace llmos::core
