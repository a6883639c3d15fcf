// SPDX-License-Identifier: MIT
// Matrix times many vectors by AMX. Weights are unpacked from their plain rows into brain floats, a block of rows and
// columns at a time that the second cache holds, and multiplied with all tokens, whose activations were turned into
// tiles of brain floats once for all weights. Integer tiles would be twice as fast but for the scales: each 32 columns
// the sums would have to leave the tiles, which takes several times longer than the multiplication.
//
// Accuracy. Quantised weights times activations in one brain float each: both are off by at most 2^-8 of themselves, on
// average by less than half of what activations quantised to bytes are. Float weights are not rounded (an F16 is the
// sum of two brain floats) and meet activations in two brain floats: products are exact to 2^-15. Sums are floats, in
// an order that depends on nothing but the shape.
#pragma once

#include "backend/cpu/kernels.hpp"
#include "backend/cpu/matmul.hpp"
#include "backend/cpu/simd.hpp"
#include "backend/cpu/transpose.hpp"
#include "backend/cpu/unpack_tiles.hpp"

namespace llmos::core::LLMOS_SET {

inline constexpr size_t tile_elements = 16 * tile_columns;  // brain floats in a tile: 16 rows, or 16 pairs of columns
inline constexpr size_t pair_elements = 2 * tile_elements;  // 32 rows or 32 tokens
inline constexpr size_t weight_rows = 2 * 16;               // of a panel, two tiles high
inline constexpr size_t block_elements = 512 << 10;         // brain floats of all panels together
inline constexpr size_t block_rows = 256;
static_assert(block_elements * sizeof(uint16_t) + weight_rows * tile_tokens * sizeof(float) <= matmul_scratch);

// Tile registers hold state of the thread from construction to destruction: eight of 16 rows of 64 bytes.
class TileRegisters {
 public:
  TileRegisters() { _tile_loadconfig(&shapes); }
  ~TileRegisters() { _tile_release(); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;

 private:
  struct alignas(64) Shapes {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
  };
  static constexpr Shapes shapes{
      1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};  // palette 1
};

// gcc does not know that tiles are loaded from memory: what was stored before must be there.
inline void finish_stores() { asm volatile("" ::: "memory"); }

// Tokens [32 group, 32 group + 32) as tiles; those beyond the last and the columns beyond the last are zeros. A tile
// holds 16 tokens and 32 columns: pair of columns by pair of columns, token by token.
inline void pack(const ActivationRows& x, size_t group, bool fine) {
  uint16_t* out = x.tile_group(group, 0);
  uint16_t* rest_out = fine ? x.tile_group(group, 1) : nullptr;
  for (size_t column = 0; column < x.columns; column += tile_columns)
    for (size_t half = 0; half < 2; half++, out += tile_elements) {
      const size_t left = x.columns - column;
      const __mmask32 present = left < 32 ? (1u << left) - 1 : ~0u;
      Int v[16], rest[16];
      for (size_t k = 0; k < 16; k++) {
        const size_t token = group * tile_tokens + half * 16 + k;
        v[k] = rest[k] = _mm512_setzero_si512();
        if (token >= x.rows) continue;
        const float* source = x.row(token).values + column;
        const Float low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(present), source);
        const Float high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(present >> 16), source + 16);
        v[k] = to_bfloats(low, high);
        if (fine) rest[k] = to_bfloats(low - low_floats(v[k]), high - high_floats(v[k]));
      }
      transpose(v);
      for (size_t k = 0; k < 16; k++) store_lanes(out + k * 32, v[k]);
      if (!fine) continue;
      transpose(rest);
      for (size_t k = 0; k < 16; k++) store_lanes(rest_out + k * 32, rest[k]);
      rest_out += tile_elements;
    }
}

// The weights of a type as panels: how many products with the activations' planes make one exact enough, and row(),
// which unpacks `count` columns of a row, 32 at a time, the first at `out` and each next `step` further. Where there
// are three products, weights have a second plane, pair_elements behind the first.
template <typename Tiles>
struct QuantisedPanel {
  static constexpr size_t products = 1, planes = 1;
  static void row(const std::byte* source, size_t column, size_t count, uint16_t* out) {
    using Block = typename Tiles::Block;
    constexpr size_t step = planes * pair_elements;
    const auto* block = reinterpret_cast<const Block*>(source) + column / Tiles::elements;
    for (size_t i = 0; i < count; i += Tiles::elements, block++)
      Tiles::unpack(*block, out + i / tile_columns * step, step);
  }
};

struct PanelBF16 {
  static constexpr size_t products = 2, planes = 1;
  static void row(const std::byte* source, size_t column, size_t count, uint16_t* out) {
    const auto* weights = reinterpret_cast<const uint16_t*>(source) + column;
    for (size_t i = 0; i < count; i += tile_columns, out += planes * pair_elements) {
      const __mmask32 present = count - i < 32 ? (1u << (count - i)) - 1 : ~0u;
      _mm512_storeu_si512(out, _mm512_maskz_loadu_epi16(present, weights + i));
    }
  }
};

struct PanelF16 {
  static constexpr size_t products = 3, planes = 2;
  static void row(const std::byte* source, size_t column, size_t count, uint16_t* out) {
    const auto* weights = reinterpret_cast<const uint16_t*>(source) + column;
    for (size_t i = 0; i < count; i += tile_columns, out += planes * pair_elements) {
      const __mmask32 present = count - i < 32 ? (1u << (count - i)) - 1 : ~0u;
      const Words halves = _mm512_maskz_loadu_epi16(present, weights + i);
      const Float low = _mm512_cvtph_ps(_mm512_castsi512_si256(halves));
      const Float high = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1));
      const Words rounded = to_bfloats(low, high);
      _mm512_storeu_si512(out, rounded);
      _mm512_storeu_si512(out + pair_elements, to_bfloats(low - low_floats(rounded), high - high_floats(rounded)));
    }
  }
};

// What a multiplication of a panel with a group of tokens works on: tiles of weights and of activations and the second
// plane of those, each `steps` times 32 columns.
struct TileWork {
  const uint16_t *weights, *activations, *rest;
  size_t steps;
};

// Writes sums[tile of rows][tile of tokens][row][token]. kTokenTiles is 1 or 2.
template <typename Panel, size_t kTokenTiles>
inline void multiply_tiles(const TileWork& work, float* sums) {
  constexpr size_t step = Panel::planes * pair_elements;
  const uint16_t *a = work.weights, *b = work.activations, *rest = work.rest;
  const auto load_weights = [](const uint16_t* from) {
    _tile_loadd(4, from, 64);
    _tile_loadd(5, from + tile_elements, 64);
  };
  const auto load_activations = [](const uint16_t* from) {
    _tile_loadd(6, from, 64);
    if constexpr (kTokenTiles == 2) _tile_loadd(7, from + tile_elements, 64);
  };
  const auto multiply = [] {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(2, 5, 6);
    if constexpr (kTokenTiles == 2) {
      _tile_dpbf16ps(1, 4, 7);
      _tile_dpbf16ps(3, 5, 7);
    }
  };
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (size_t i = 0; i < work.steps; i++, a += step, b += pair_elements) {
    load_weights(a);
    if constexpr (Panel::products > 1) {
      load_activations(rest);
      multiply();
      rest += pair_elements;
    }
    load_activations(b);
    multiply();
    if constexpr (Panel::products > 2) {
      load_weights(a + pair_elements);
      multiply();
    }
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + 256, 64);
  _tile_stored(2, sums + 512, 64);
  _tile_stored(3, sums + 768, 64);
}

// Puts the sums of `rows` and `tokens`, at most 32 each, in their place: written, or added to what is there.
inline void put_sums(const float* sums, size_t rows, size_t tokens, bool add, float* y, size_t y_stride) {
  for (size_t token = 0; token < tokens; token += 16)
    for (size_t row = 0; row < rows; row += 16) {
      const float* tile = sums + row * 32 + token * 16;
      Int v[16];
      for (size_t k = 0; k < 16; k++) v[k] = load_lanes(tile + k * 16);
      transpose(v);
      const __mmask16 present = rows - row < 16 ? static_cast<__mmask16>((1u << (rows - row)) - 1) : 0xffff;
      float* out = y + token * y_stride + row;
      for (size_t k = 0; k < 16 && token + k < tokens; k++, out += y_stride) {
        const Float sum = _mm512_castsi512_ps(v[k]);
        _mm512_mask_storeu_ps(out, present, add ? sum + _mm512_maskz_loadu_ps(present, out) : sum);
      }
    }
}

// Rows [top, bottom) of a product, of whose weights columns [column, column + count) lie unpacked in `panels`.
template <typename Panel>
inline void multiply_block(const uint16_t* panels, const ActivationRows& x, size_t column, size_t count, size_t top,
                           size_t bottom, float* y, size_t y_stride, float* sums) {
  const size_t steps = (count + tile_columns - 1) / tile_columns, panel_size = steps * pair_elements * Panel::planes;
  const size_t place = column / tile_columns * pair_elements;
  for (size_t token = 0; token < x.rows; token += tile_tokens) {
    const size_t tokens = x.rows - token < tile_tokens ? x.rows - token : tile_tokens, group = token / tile_tokens;
    TileWork work{panels, x.tile_group(group, 0) + place, nullptr, steps};
    if (Panel::products > 1) work.rest = x.tile_group(group, 1) + place;
    for (size_t r = top; r < bottom; r += weight_rows, work.weights += panel_size) {
      if (tokens > 16)
        multiply_tiles<Panel, 2>(work, sums);
      else
        multiply_tiles<Panel, 1>(work, sums);
      put_sums(sums, bottom - r < weight_rows ? bottom - r : weight_rows, tokens, column > 0, y + token * y_stride + r,
               y_stride);
    }
  }
}

template <typename Panel>
inline void matmul_tiles(const TensorView& w, const ActivationRows& x, size_t first, size_t last, float* y,
                         size_t y_stride, std::byte* scratch) {
  constexpr size_t most_columns = block_elements / block_rows / Panel::planes;
  static_assert(most_columns % 256 == 0);
  auto* panels = reinterpret_cast<uint16_t*>(scratch);
  auto* sums = reinterpret_cast<float*>(panels + block_elements);
  const size_t row_bytes = w.row_bytes();
  const TileRegisters registers;
  for (size_t top = first; top < last; top += block_rows) {
    const size_t bottom = last - top < block_rows ? last : top + block_rows;
    for (size_t column = 0; column < x.columns; column += most_columns) {
      const size_t count = x.columns - column < most_columns ? x.columns - column : most_columns;
      const size_t panel_size = (count + tile_columns - 1) / tile_columns * pair_elements * Panel::planes;
      for (size_t r = top; r < bottom; r++)
        Panel::row(w.data + r * row_bytes, column, count,
                   panels + (r - top) / weight_rows * panel_size + (r - top) % weight_rows * tile_columns);
      finish_stores();
      multiply_block<Panel>(panels, x, column, count, top, bottom, y, y_stride, sums);
    }
  }
}

inline void matmul_by_tiles(const TensorView& w, const ActivationRows& x, size_t first, size_t last, float* y,
                            size_t y_stride, std::byte* scratch) {
  switch (w.type) {
    case TensorType::f32:
      return matmul_floats<WeightF32>(w, x, first, last, y, y_stride, scratch);
    case TensorType::f16:
      return matmul_tiles<PanelF16>(w, x, first, last, y, y_stride, scratch);
    case TensorType::bf16:
      return matmul_tiles<PanelBF16>(w, x, first, last, y, y_stride, scratch);
    case TensorType::q4_0:
      return matmul_tiles<QuantisedPanel<TilesQ4_0>>(w, x, first, last, y, y_stride, scratch);
    case TensorType::q5_0:
      return matmul_tiles<QuantisedPanel<TilesQ5_0>>(w, x, first, last, y, y_stride, scratch);
    case TensorType::q8_0:
      return matmul_tiles<QuantisedPanel<TilesQ8_0>>(w, x, first, last, y, y_stride, scratch);
    case TensorType::q4_k:
      return matmul_tiles<QuantisedPanel<TilesQ4_K>>(w, x, first, last, y, y_stride, scratch);
    case TensorType::q5_k:
      return matmul_tiles<QuantisedPanel<TilesQ5_K>>(w, x, first, last, y, y_stride, scratch);
    case TensorType::q6_k:
      return matmul_tiles<QuantisedPanel<TilesQ6_K>>(w, x, first, last, y, y_stride, scratch);
  }
}

}  // namespace llmos::core::LLMOS_SET
