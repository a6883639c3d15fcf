// SPDX-License-Identifier: MIT
// Dot products of rows of quantised weights for any CPU: what the faster sets must agree with.
#pragma once

#include "backend/cpu/unpack.hpp"

namespace llmos::core::LLMOS_SET {

template <typename Unpack>
struct QuantDot {
  static constexpr size_t streams = 1;

  template <size_t kRows>
  static void dot(const std::byte* const* rows, const ActivationRow& x, size_t columns, float* out) {
    for (size_t k = 0; k < kRows; k++) out[k] = dot_row(rows[k], x, columns);
  }

  static float dot_row(const std::byte* row, const ActivationRow& x, size_t columns) {
    constexpr size_t parts = Unpack::elements / Unpack::part;
    float result = 0;
    for (size_t column = 0; column < columns; column += Unpack::elements, row += sizeof(typename Unpack::Block)) {
      typename Unpack::Block block;
      std::memcpy(&block, row, sizeof block);
      uint8_t bytes[Unpack::elements];
      float scales[parts], minimums[parts];
      Unpack::unpack(block, bytes, scales, minimums);
      for (size_t part = 0; part < parts; part++) {
        const size_t first = part * Unpack::part, at = column + first;
        int32_t dot = 0, sum = 0;
        for (size_t i = 0; i < Unpack::part; i++) dot += bytes[first + i] * x.quants[at + i];
        for (size_t i = 0; i < Unpack::part / 16; i++) sum += x.sums[at / 16 + i];
        float value = scales[part] * static_cast<float>(dot - Unpack::zero * sum);
        if (Unpack::minimums) value -= minimums[part] * static_cast<float>(sum);
        result += x.scales[at / quant_block] * value;
      }
    }
    return result;
  }
};

using DotQ4_0 = QuantDot<UnpackQ4_0>;
using DotQ5_0 = QuantDot<UnpackQ5_0>;
using DotQ8_0 = QuantDot<UnpackQ8_0>;
using DotQ4_K = QuantDot<UnpackQ4_K>;
using DotQ5_K = QuantDot<UnpackQ5_K>;
using DotQ6_K = QuantDot<UnpackQ6_K>;

}  // namespace llmos::core::LLMOS_SET
