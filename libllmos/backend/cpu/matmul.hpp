// SPDX-License-Identifier: MIT
// Matrix times many vectors. Weights are unpacked from their plain rows, one panel of rows and columns at a time, into
// an order in which one vector holds one step of many rows; each panel, small enough for the first cache, is then
// multiplied with every token. Included once per vector instruction set.
#pragma once

#include "backend/cpu/kernels.hpp"
#include "backend/cpu/matvec_floats.hpp"
#include "backend/cpu/simd.hpp"
#include "backend/cpu/transpose.hpp"
#include "backend/cpu/unpack.hpp"

namespace llmos::core::LLMOS_SET {

inline constexpr size_t panel_groups = 2;                   // vectors of rows
inline constexpr size_t panel_rows = panel_groups * lanes;  // rows of a panel
inline constexpr size_t panel_columns = 1024;               // of quantised weights
inline constexpr size_t panel_floats = 256;                 // columns of float weights
inline constexpr size_t byte_tokens = lanes == 16 ? 6 : 4;  // tokens of a tile, so that its sums fit the registers
inline constexpr size_t float_tokens = lanes == 16 ? 12 : 5;

// Sums of products of bytes, four to a lane.
#if defined(__AVX512VNNI__)
template <typename Unpack>
struct ByteSums {
  static constexpr int zero = Unpack::zero;
  Int sum;

  void begin(int32_t start) { sum = _mm512_set1_epi32(start); }
  void add(size_t, Int weights, Int activations) { sum = _mm512_dpbusd_epi32(sum, weights, activations); }
  Float get() const { return to_float(sum); }
};
template <typename Unpack>
inline Int flip(Int bytes) {
  return bytes;
}
inline Int spread_bytes(const int8_t* p) {
  int32_t four;
  std::memcpy(&four, p, sizeof four);
  return _mm512_set1_epi32(four);
}
#else
// As many products as cannot overflow are summed in 16 bits first. Bytes of 8 bits are taken as signed, their signs
// moved to the activations.
template <typename Unpack>
struct ByteSums {
  static constexpr bool is_signed = Unpack::largest > 127;
  static constexpr int zero = is_signed ? 0 : Unpack::zero;
  static constexpr size_t run = is_signed ? 1 : 32767 / (2 * 127 * Unpack::largest);
  Int sum, part;

  void begin(int32_t start) {
    sum = _mm256_set1_epi32(start);
    part = _mm256_setzero_si256();
  }
  void add(size_t step, Int weights, Int activations) {
    const Int products = is_signed
                             ? _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(activations, weights))
                             : _mm256_maddubs_epi16(weights, activations);
    part = step % run == 0 ? products : _mm256_add_epi16(part, products);
    if (step % run == run - 1 || step == Unpack::part / 4 - 1)
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(part, _mm256_set1_epi16(1)));
  }
  Float get() const { return to_float(sum); }
};
template <typename Unpack>
inline Int flip(Int bytes) {
  return ByteSums<Unpack>::is_signed ? _mm256_xor_si256(bytes, _mm256_set1_epi8(-128)) : bytes;
}
inline Int spread_bytes(const int8_t* p) {
  int32_t four;
  std::memcpy(&four, p, sizeof four);
  return _mm256_set1_epi32(four);
}
#endif

// A panel: bytes [column / 4][row][4], scales and minimums [part][row].
struct BytePanel {
  uint8_t* bytes;
  float *scales, *minimums;
};

inline BytePanel place_panel(std::byte* scratch) {
  constexpr size_t most_parts = panel_columns / 16;
  auto* scales = reinterpret_cast<float*>(scratch + panel_rows * panel_columns);
  return {reinterpret_cast<uint8_t*>(scratch), scales, scales + most_parts * panel_rows};
}
static_assert(panel_rows * (panel_columns + panel_columns / 16 * 2 * sizeof(float)) <= matmul_scratch);

// Columns [column, column + count) of rows [first, first + rows); the rows beyond are copies of the first, their
// results are left out. Rows are unpacked one after another, then turned over in squares.
template <typename Unpack>
inline void unpack_panel(const TensorView& w, size_t first, size_t rows, size_t column, size_t count,
                         const BytePanel& panel) {
  using Block = typename Unpack::Block;
  constexpr size_t parts = Unpack::elements / Unpack::part, run = 256, square = 4 * lanes;  // in columns
  const size_t row_bytes = w.row_bytes();
  alignas(64) uint8_t bytes[lanes][run];
  for (size_t g = 0; g < panel_groups; g++)
    for (size_t start = 0; start < count; start += run) {
      const size_t some = count - start < run ? count - start : run;
      for (size_t k = 0; k < lanes; k++) {
        const size_t r = g * lanes + k;
        const std::byte* source =
            w.data + (first + (r < rows ? r : 0)) * row_bytes + (column + start) / Unpack::elements * sizeof(Block);
        for (size_t at = 0; at < some; at += Unpack::elements, source += sizeof(Block)) {
          float scales[parts], minimums[parts];
          Unpack::unpack(*reinterpret_cast<const Block*>(source), bytes[k] + at, scales, minimums);
          for (size_t part = 0; part < parts; part++) {
            const size_t place = ((start + at) / Unpack::part + part) * panel_rows + r;
            panel.scales[place] = scales[part];
            if (Unpack::minimums) panel.minimums[place] = minimums[part];
          }
        }
      }
      for (size_t at = 0; at < some; at += square) {
        Int v[lanes];
        for (size_t k = 0; k < lanes; k++) v[k] = load_lanes(bytes[k] + at);
        transpose(v);
        for (size_t k = 0; k < lanes; k++)
          store_lanes(panel.bytes + ((start + at) / 4 + k) * panel_rows * 4 + g * lanes * 4, flip<Unpack>(v[k]));
      }
    }
}

// out[n][row] = panel row . columns [column, column + count) of token n.
template <typename Unpack, size_t kTokens>
inline void byte_tile(const BytePanel& panel, const ActivationRow* x, size_t column, size_t count, float* out) {
  constexpr size_t steps = Unpack::part / 4, to_sums = Unpack::part / 16;
  Float result[kTokens][panel_groups];
  for (size_t n = 0; n < kTokens; n++)
    for (size_t g = 0; g < panel_groups; g++) result[n][g] = zero();

  const uint8_t* bytes = panel.bytes;
  for (size_t part = 0; part < count / Unpack::part; part++) {
    const size_t at = column + part * Unpack::part;
    ByteSums<Unpack> sums[kTokens][panel_groups];
    for (size_t n = 0; n < kTokens; n++) {
      int32_t start = 0;
      if (ByteSums<Unpack>::zero)
        for (size_t i = 0; i < to_sums; i++) start -= ByteSums<Unpack>::zero * x[n].sums[at / 16 + i];
      for (size_t g = 0; g < panel_groups; g++) sums[n][g].begin(start);
    }
#pragma GCC unroll 8
    for (size_t step = 0; step < steps; step++, bytes += panel_rows * 4) {
      Int weights[panel_groups];
      for (size_t g = 0; g < panel_groups; g++) weights[g] = load_lanes(bytes + g * lanes * 4);
#pragma GCC unroll 8
      for (size_t n = 0; n < kTokens; n++) {
        const Int activations = spread_bytes(x[n].quants + at + 4 * step);
        for (size_t g = 0; g < panel_groups; g++) sums[n][g].add(step, weights[g], activations);
      }
    }
#pragma GCC unroll 8
    for (size_t n = 0; n < kTokens; n++) {
      const Float scale = set(x[n].scales[at / quant_block]);
      for (size_t g = 0; g < panel_groups; g++) {
        const size_t place = part * panel_rows + g * lanes;
        result[n][g] = multiply_add(sums[n][g].get(), load(panel.scales + place) * scale, result[n][g]);
        if (Unpack::minimums) {
          const Float taken = set(-x[n].scaled_sums[at / quant_block]);
          result[n][g] = multiply_add(load(panel.minimums + place), taken, result[n][g]);
        }
      }
    }
  }
  for (size_t n = 0; n < kTokens; n++)
    for (size_t g = 0; g < panel_groups; g++) store(out + n * panel_rows + g * lanes, result[n][g]);
}

// The same for float weights: a panel of floats [column][row].
template <typename Weight>
inline void unpack_floats(const TensorView& w, size_t first, size_t rows, size_t column, size_t count, float* panel) {
  using Element = typename Weight::Element;
  const size_t whole = count / lanes * lanes;
  for (size_t g = 0; g < panel_groups; g++) {
    const Element* source[lanes];
    for (size_t k = 0; k < lanes; k++) {
      const size_t r = g * lanes + k;
      source[k] = reinterpret_cast<const Element*>(w.data + (first + (r < rows ? r : 0)) * w.row_bytes()) + column;
    }
    for (size_t i = 0; i < whole; i += lanes) {
      Int v[lanes];
      for (size_t k = 0; k < lanes; k++) v[k] = as_lanes(Weight::get(source[k] + i));
      transpose(v);
      for (size_t k = 0; k < lanes; k++) store_lanes(panel + (i + k) * panel_rows + g * lanes, v[k]);
    }
    for (size_t i = whole; i < count; i++)
      for (size_t k = 0; k < lanes; k++) panel[i * panel_rows + g * lanes + k] = Weight::one(source[k][i]);
  }
}

// out[n][row] = panel row . columns [0, count) of x[n], the panel being floats [column][row].
template <size_t kTokens>
inline void float_tile(const float* panel, const float* const* x, size_t count, float* out) {
  Float result[kTokens][panel_groups];
  for (size_t n = 0; n < kTokens; n++)
    for (size_t g = 0; g < panel_groups; g++) result[n][g] = zero();
  for (size_t i = 0; i < count; i++, panel += panel_rows) {
    Float weights[panel_groups];
    for (size_t g = 0; g < panel_groups; g++) weights[g] = load(panel + g * lanes);
#pragma GCC unroll 12
    for (size_t n = 0; n < kTokens; n++) {
      const Float value = set(x[n][i]);
      for (size_t g = 0; g < panel_groups; g++) result[n][g] = multiply_add(weights[g], value, result[n][g]);
    }
  }
  for (size_t n = 0; n < kTokens; n++)
    for (size_t g = 0; g < panel_groups; g++) store(out + n * panel_rows + g * lanes, result[n][g]);
}

// Calls tile(TokenCount<n>, first) so that the n cover `tokens`, kMost at a time and the rest at once.
template <size_t kCount>
struct TokenCount {
  static constexpr size_t value = kCount;
};
template <size_t kCount, typename Tile>
inline void rest_of_tokens(size_t count, size_t first, const Tile& tile) {
  if constexpr (kCount > 0) {
    if (count == kCount) return tile(TokenCount<kCount>{}, first);
    rest_of_tokens<kCount - 1>(count, first, tile);
  }
}
template <size_t kMost, typename Tile>
inline void over_tokens(size_t tokens, const Tile& tile) {
  size_t first = 0;
  for (; first + kMost <= tokens; first += kMost) tile(TokenCount<kMost>{}, first);
  rest_of_tokens<kMost - 1>(tokens - first, first, tile);
}

// Puts a tile's rows in their place: the first panel of a row writes, the others add.
inline void put_tile(const float* tile, size_t tokens, size_t rows, bool first, float* y, size_t y_stride) {
  for (size_t n = 0; n < tokens; n++, tile += panel_rows, y += y_stride)
    if (first)
      for (size_t r = 0; r < rows; r++) y[r] = tile[r];
    else
      for (size_t r = 0; r < rows; r++) y[r] += tile[r];
}

template <typename Unpack>
inline void matmul_bytes(const TensorView& w, const ActivationRows& x, size_t first, size_t last, float* y,
                         size_t y_stride, std::byte* scratch) {
  const BytePanel panel = place_panel(scratch);
  for (size_t r = first; r < last; r += panel_rows) {
    const size_t rows = last - r < panel_rows ? last - r : panel_rows;
    for (size_t column = 0; column < x.columns; column += panel_columns) {
      const size_t count = x.columns - column < panel_columns ? x.columns - column : panel_columns;
      unpack_panel<Unpack>(w, r, rows, column, count, panel);
      over_tokens<byte_tokens>(x.rows, [&](auto tokens, size_t t) {
        ActivationRow part[tokens.value];
        for (size_t n = 0; n < tokens.value; n++) part[n] = x.row(t + n);
        alignas(64) float tile[tokens.value * panel_rows];
        byte_tile<Unpack, tokens.value>(panel, part, column, count, tile);
        put_tile(tile, tokens.value, rows, column == 0, y + t * y_stride + r, y_stride);
      });
    }
  }
}

template <typename Weight>
inline void matmul_floats(const TensorView& w, const ActivationRows& x, size_t first, size_t last, float* y,
                          size_t y_stride, std::byte* scratch) {
  static_assert(panel_rows * panel_floats * sizeof(float) <= matmul_scratch);
  float* panel = reinterpret_cast<float*>(scratch);
  for (size_t r = first; r < last; r += panel_rows) {
    const size_t rows = last - r < panel_rows ? last - r : panel_rows;
    for (size_t column = 0; column < x.columns; column += panel_floats) {
      const size_t count = x.columns - column < panel_floats ? x.columns - column : panel_floats;
      unpack_floats<Weight>(w, r, rows, column, count, panel);
      over_tokens<float_tokens>(x.rows, [&](auto tokens, size_t t) {
        const float* part[tokens.value];
        for (size_t n = 0; n < tokens.value; n++) part[n] = x.row(t + n).values + column;
        alignas(64) float tile[tokens.value * panel_rows];
        float_tile<tokens.value>(panel, part, count, tile);
        put_tile(tile, tokens.value, rows, column == 0, y + t * y_stride + r, y_stride);
      });
    }
  }
}

inline void matmul(const TensorView& w, const ActivationRows& x, size_t first, size_t last, float* y, size_t y_stride,
                   std::byte* scratch) {
  const bool quantized = with_unpack(
      w.type, [&](auto unpack) { matmul_bytes<decltype(unpack)>(w, x, first, last, y, y_stride, scratch); });
  if (quantized) return;
  if (w.type == TensorType::f32) matmul_floats<WeightF32>(w, x, first, last, y, y_stride, scratch);
  if (w.type == TensorType::f16) matmul_floats<WeightF16>(w, x, first, last, y, y_stride, scratch);
  if (w.type == TensorType::bf16) matmul_floats<WeightBF16>(w, x, first, last, y, y_stride, scratch);
}

}  // namespace llmos::core::LLMOS_SET
