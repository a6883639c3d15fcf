// SPDX-License-Identifier: MIT
#include "model/rope.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace llmos::core {
namespace {

// YaRN: how far frequency `index` is on its way from kept (0) to divided by the factor (1). Fast ones, which turn more
// than beta_fast times within the original context, are kept.
double yarn_ramp(size_t index, size_t components, double base, const RopeScaling& scaling) {
  const auto index_of_turns = [&](double turns) {
    return components * std::log(scaling.original_context / (turns * 2 * std::numbers::pi)) / (2 * std::log(base));
  };
  const double low = std::max(0.0, std::floor(index_of_turns(scaling.beta_fast)));
  const double high = std::min(components - 1.0, std::ceil(index_of_turns(scaling.beta_slow)));
  return std::clamp((static_cast<double>(index) - low) / std::max(0.001, high - low), 0.0, 1.0);
}

}  // namespace

void set_frequencies(Rope& rope, double base, const RopeScaling& scaling, std::span<const float> factors) {
  rope.frequencies.resize(rope.components / 2);
  for (size_t i = 0; i < rope.frequencies.size(); i++) {
    const double kept = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(rope.components)) /
                        (factors.empty() ? 1.0 : factors[i]);
    double share = scaling.kind == RopeScaling::Kind::none ? 0 : 1;
    if (scaling.kind == RopeScaling::Kind::yarn) share = yarn_ramp(i, rope.components, base, scaling);
    rope.frequencies[i] = static_cast<float>(kept / scaling.factor * share + kept * (1 - share));
  }
  rope.magnitude = static_cast<float>(scaling.attention_factor);
  if (scaling.kind == RopeScaling::Kind::yarn) rope.magnitude *= static_cast<float>(1 + 0.1 * std::log(scaling.factor));
}

void rope_angles(const Rope& rope, size_t position, float* out) {
  for (const float frequency : rope.frequencies) {
    const double angle = static_cast<double>(position) * frequency;
    *out++ = static_cast<float>(std::cos(angle)) * rope.magnitude;
    *out++ = static_cast<float>(std::sin(angle)) * rope.magnitude;
  }
}

}  // namespace llmos::core
