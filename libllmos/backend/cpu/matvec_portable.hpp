// SPDX-License-Identifier: MIT
// Matrix times a few vectors for any CPU: what the faster sets must agree with.
#pragma once

#include "backend/cpu/unpack.hpp"

namespace llmos::core::LLMOS_SET {

template <typename Unpack>
inline float dot_quantized(const std::byte* row, const ActivationRows& x, size_t t) {
  constexpr size_t parts = Unpack::elements / Unpack::part;
  const int8_t* quants = x.quants + t * x.quant_stride;
  const float* scales = x.scales + t * x.scale_stride;
  const int32_t* sums = x.sums + t * x.scale_stride * 2;
  float result = 0;
  for (size_t column = 0; column < x.columns; column += Unpack::elements, row += sizeof(typename Unpack::Block)) {
    typename Unpack::Block block;
    std::memcpy(&block, row, sizeof block);
    uint8_t bytes[Unpack::elements];
    float weight_scales[parts], minimums[parts];
    Unpack::unpack(block, bytes, weight_scales, minimums);
    for (size_t part = 0; part < parts; part++) {
      const size_t first = part * Unpack::part, at = column + first;
      int32_t dot = 0, sum = 0;
      for (size_t i = 0; i < Unpack::part; i++) dot += bytes[first + i] * quants[at + i];
      for (size_t i = 0; i < Unpack::part / 16; i++) sum += sums[at / 16 + i];
      float value = weight_scales[part] * static_cast<float>(dot - Unpack::zero * sum);
      if (Unpack::minimums) value -= minimums[part] * static_cast<float>(sum);
      result += scales[at / quant_block] * value;
    }
  }
  return result;
}

inline Float load_weights(const float* p) { return load(p); }
struct HalfWeight {
  uint16_t bits;
};
struct BfloatWeight {
  uint16_t bits;
};
inline Float load_weights(const HalfWeight* p) { return load_half(&p->bits); }
inline Float load_weights(const BfloatWeight* p) { return load_bfloat(&p->bits); }
inline float weight(float w) { return w; }
inline float weight(HalfWeight w) { return half_to_float(w.bits); }
inline float weight(BfloatWeight w) { return bfloat_to_float(w.bits); }

template <typename Weight>
inline float dot_floats(const std::byte* row, const ActivationRows& x, size_t t) {
  const auto* w = reinterpret_cast<const Weight*>(row);
  const float* values = x.values + t * x.value_stride;
  Float sum = zero();
  size_t i = 0;
  for (; i + lanes <= x.columns; i += lanes) sum = multiply_add(load_weights(w + i), load(values + i), sum);
  float result = total(sum);
  for (; i < x.columns; i++) result += weight(w[i]) * values[i];
  return result;
}

template <typename Dot>
inline void each_row(const TensorView& w, const ActivationRows& x, size_t first, size_t last, float* y, size_t y_stride,
                     const Dot& dot) {
  for (size_t r = first; r < last; r++)
    for (size_t t = 0; t < x.rows; t++) y[t * y_stride + r] = dot(w.row(r), x, t);
}

inline void matvec(const TensorView& w, const ActivationRows& x, size_t first, size_t last, float* y, size_t y_stride,
                   std::byte*) {
  const bool quantized = with_unpack(
      w.type, [&](auto unpack) { each_row(w, x, first, last, y, y_stride, dot_quantized<decltype(unpack)>); });
  if (quantized) return;
  if (w.type == TensorType::f32) each_row(w, x, first, last, y, y_stride, dot_floats<float>);
  if (w.type == TensorType::f16) each_row(w, x, first, last, y, y_stride, dot_floats<HalfWeight>);
  if (w.type == TensorType::bf16) each_row(w, x, first, last, y, y_stride, dot_floats<BfloatWeight>);
}

}  // namespace llmos::core::LLMOS_SET
