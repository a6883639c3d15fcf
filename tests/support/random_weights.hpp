// SPDX-License-Identifier: MIT
// Weights of any type made of random bits, with scales that keep them near the given size.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>

#include "backend/cpu/blocks.hpp"
#include "format/tensor.hpp"

namespace llmos::test {

namespace detail {

template <typename Element, typename Fill>
void each_block(std::span<std::byte> out, const Fill& fill) {
  for (size_t at = 0; at + sizeof(Element) <= out.size(); at += sizeof(Element)) {
    Element element;
    std::memcpy(&element, out.data() + at, sizeof element);
    fill(element);
    std::memcpy(out.data() + at, &element, sizeof element);
  }
}

}  // namespace detail

// Fills `out`, whole blocks of `type`, with weights whose standard deviation is about `size`.
inline void fill_random(core::TensorType type, std::span<std::byte> out, std::mt19937_64& random, float size = 0.05f) {
  using core::float_to_half;
  using core::TensorType;
  for (size_t at = 0; at < out.size(); at += 8) {
    const uint64_t bits = random();
    std::memcpy(out.data() + at, &bits, std::min<size_t>(8, out.size() - at));
  }
  std::normal_distribution<float> normal(0, size);
  std::uniform_real_distribution<float> about(0.5f, 1.5f);
  const auto scale = [&](float levels) { return float_to_half(size / levels * about(random)); };
  switch (type) {
    case TensorType::f32:
      return detail::each_block<float>(out, [&](float& w) { w = normal(random); });
    case TensorType::f16:
      return detail::each_block<uint16_t>(out, [&](uint16_t& w) { w = float_to_half(normal(random)); });
    case TensorType::bf16:
      return detail::each_block<uint16_t>(out, [&](uint16_t& w) {
        const float value = normal(random);
        uint32_t bits;
        std::memcpy(&bits, &value, 4);
        w = static_cast<uint16_t>(bits >> 16);
      });
    case TensorType::q4_0:
      return detail::each_block<core::BlockQ4_0>(out, [&](auto& block) { block.scale = scale(4.6f); });
    case TensorType::q5_0:
      return detail::each_block<core::BlockQ5_0>(out, [&](auto& block) { block.scale = scale(9.2f); });
    case TensorType::q8_0:
      return detail::each_block<core::BlockQ8_0>(out, [&](auto& block) { block.scale = scale(74); });
    case TensorType::q4_k:  // the minimums take off about the mean
      return detail::each_block<core::BlockQ4_K>(out, [&](auto& block) {
        block.scale = scale(4.6f * 32);
        block.minimum = float_to_half(core::half_to_float(block.scale) * 7.5f);
      });
    case TensorType::q5_k:
      return detail::each_block<core::BlockQ5_K>(out, [&](auto& block) {
        block.scale = scale(9.2f * 32);
        block.minimum = float_to_half(core::half_to_float(block.scale) * 15.5f);
      });
    case TensorType::q6_k:
      return detail::each_block<core::BlockQ6_K>(out, [&](auto& block) { block.scale = scale(18.5f * 74); });
  }
}

}  // namespace llmos::test
