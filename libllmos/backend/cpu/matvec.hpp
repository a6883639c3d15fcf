// SPDX-License-Identifier: MIT
// Matrix times a few vectors, straight from the plain layout of the file. Included once per instruction set.
//
// A thread's rows are cut into as many parts as a kernel has streams, and row i of every part is taken together: so
// many purely sequential streams of memory. Adjacent rows instead would be the worst choice: the prefetcher of one runs
// into the next, and one stream alone cannot keep a core busy.
#pragma once

#include "backend/cpu/matvec_floats.hpp"
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "backend/cpu/matvec_x86.hpp"
#else
#include "backend/cpu/matvec_portable.hpp"
#endif

namespace llmos::core::LLMOS_SET {

template <typename Dot>
inline void spread(const TensorView& w, const ActivationRows& x, size_t first, size_t last, float* y, size_t y_stride) {
  constexpr size_t streams = Dot::streams;
  const size_t part = (last - first) / streams, row_bytes = w.row_bytes();
  float out[streams];
  for (size_t i = 0; i < part; i++) {
    const std::byte* rows[streams];
    for (size_t k = 0; k < streams; k++) rows[k] = w.data + (first + k * part + i) * row_bytes;
    for (size_t t = 0; t < x.rows; t++) {
      Dot::template dot<streams>(rows, x.row(t), x.columns, out);
      for (size_t k = 0; k < streams; k++) y[t * y_stride + first + k * part + i] = out[k];
    }
  }
  for (size_t r = first + part * streams; r < last; r++) {
    const std::byte* row = w.data + r * row_bytes;
    for (size_t t = 0; t < x.rows; t++) Dot::template dot<1>(&row, x.row(t), x.columns, y + t * y_stride + r);
  }
}

inline void matvec(const TensorView& w, const ActivationRows& x, size_t first, size_t last, float* y, size_t y_stride,
                   std::byte*) {
  switch (w.type) {
    case TensorType::f32:
      return spread<FloatDot<WeightF32>>(w, x, first, last, y, y_stride);
    case TensorType::f16:
      return spread<FloatDot<WeightF16>>(w, x, first, last, y, y_stride);
    case TensorType::bf16:
      return spread<FloatDot<WeightBF16>>(w, x, first, last, y, y_stride);
    case TensorType::q4_0:
      return spread<DotQ4_0>(w, x, first, last, y, y_stride);
    case TensorType::q5_0:
      return spread<DotQ5_0>(w, x, first, last, y, y_stride);
    case TensorType::q8_0:
      return spread<DotQ8_0>(w, x, first, last, y, y_stride);
    case TensorType::q4_k:
      return spread<DotQ4_K>(w, x, first, last, y, y_stride);
    case TensorType::q5_k:
      return spread<DotQ5_K>(w, x, first, last, y, y_stride);
    case TensorType::q6_k:
      return spread<DotQ6_K>(w, x, first, last, y, y_stride);
  }
}

}  // namespace llmos::core::LLMOS_SET
