// SPDX-License-Identifier: MIT
// Dot products of rows of float weights with a row of activations. Included once per instruction set.
#pragma once

#include "backend/cpu/kernels.hpp"
#include "backend/cpu/simd.hpp"

namespace llmos::core::LLMOS_SET {

struct WeightF32 {
  using Element = float;
  static Float get(const Element* p) { return load(p); }
  static float one(Element w) { return w; }
};
struct WeightF16 {
  using Element = uint16_t;
  static Float get(const Element* p) { return load_half(p); }
  static float one(Element w) { return half(w); }
};
struct WeightBF16 {
  using Element = uint16_t;
  static Float get(const Element* p) { return load_bfloat(p); }
  static float one(Element w) { return bfloat_to_float(w); }
};

template <typename Weight>
struct FloatDot {
  static constexpr size_t streams = 4;

  // out[k] = rows[k] . x, for kRows rows at once.
  template <size_t kRows>
  static void dot(const std::byte* const* rows, const ActivationRow& x, size_t columns, float* out) {
    using Element = typename Weight::Element;
    const Element* w[kRows];
    Float even[kRows], odd[kRows];
    for (size_t k = 0; k < kRows; k++) {
      w[k] = reinterpret_cast<const Element*>(rows[k]);
      even[k] = odd[k] = zero();
    }
    size_t i = 0;
    for (; i + 2 * lanes <= columns; i += 2 * lanes) {
      const Float a = load(x.values + i), b = load(x.values + i + lanes);
      for (size_t k = 0; k < kRows; k++) __builtin_prefetch(w[k] + i + 1024 / sizeof(Element));
      for (size_t k = 0; k < kRows; k++) even[k] = multiply_add(Weight::get(w[k] + i), a, even[k]);
      for (size_t k = 0; k < kRows; k++) odd[k] = multiply_add(Weight::get(w[k] + i + lanes), b, odd[k]);
    }
    for (size_t k = 0; k < kRows; k++) {
      out[k] = total(even[k] + odd[k]);
      for (size_t rest = i; rest < columns; rest++) out[k] += Weight::one(w[k][rest]) * x.values[rest];
    }
  }
};

}  // namespace llmos::core::LLMOS_SET
