// SPDX-License-Identifier: MIT
// Weights times many tokens, by tensor cores: both are half-precision there, sums are floats. A block takes a tile of
// 64 rows of the weights and 64 tokens and goes through the columns 128 at a time. Each warp makes 32 x 32 of it.
#pragma once

#include "cuda/kernels/products.cuh"
#include "cuda/kernels/weights.cuh"

namespace llmos::cuda {

inline constexpr unsigned tile_stride = tile_columns + 8;  // in shared memory: rows begin in different banks

// ---- Activations as halves ----

// A block a token; behind its columns zeros up to a whole tile.
DEVICE void halve(const HalveArguments& a) {
  const float* x = a.x + static_cast<size_t>(blockIdx.x) * a.x_stride;
  uint16_t* out = a.halves + static_cast<size_t>(blockIdx.x) * a.half_stride;
  float largest = 0;
  for (unsigned i = threadIdx.x; i < a.columns; i += row_threads) largest = fmaxf(largest, fabsf(x[i]));
  const float scale = half_scale(block_max(largest)), inverse = 1 / scale;
  for (unsigned i = threadIdx.x; i < a.half_stride; i += row_threads)
    out[i] = i < a.columns ? float_to_half(x[i] * inverse) : 0;
  if (threadIdx.x == 0) a.scales[blockIdx.x] = scale;
}

// ---- The tile of weights ----

// Row `index` of a tile. When gated, the tile has 32 rows of the first weight and the same of the second: 8 and 8 by
// turns, so that one thread gets both sums of a row.
DEVICE ProductRow tile_row(const MultiplyArguments& a, unsigned block, unsigned index) {
  if (a.gated) return row_of_gate(a, index / 8 % 2, block * (tile_rows / 2) + index / 16 * 8 + index % 8);
  return row_of_all(a, block * tile_rows + index);
}

// One side of a unit: neighbouring columns.
template <unsigned kCount>
DEVICE void put_halves(const float* numbers, float scale, float offset, uint16_t* to) {
  UNROLL
  for (unsigned i = 0; i < kCount; i += 2) {
    const uint32_t low = float_to_half(numbers[i] * scale + offset);
    const uint32_t high = float_to_half(numbers[i + 1] * scale + offset);
    *reinterpret_cast<uint32_t*>(to + i) = low | high << 16;
  }
}

// Columns [begin, begin + tile_columns) of the tile's rows; zeros behind the last.
template <typename Unit>
DEVICE void put_weights(const MultiplyArguments& a, unsigned begin, uint16_t* tile) {
  constexpr unsigned in_row = tile_columns / Unit::columns, side = Unit::columns / 2;
  const unsigned units = units_of<Unit>(a.columns);
  for (unsigned i = threadIdx.x; i < tile_rows * in_row; i += multiply_threads) {
    const unsigned index = i / in_row, unit = begin / Unit::columns + i % in_row;
    uint16_t* row = tile + index * tile_stride;
    const unsigned first = Unit::first(unit) - begin, second = Unit::second(unit) - begin;
    Numbers<Unit::columns> w{};
    if (unit < units) {
      const ProductRow from = tile_row(a, blockIdx.x, index);
      Unit::load(a.products[from.product].weight, from.row, units, unit).decode(unit, w);
    }
    put_halves<side>(w.numbers, w.scale[0], Unit::has_offset ? w.offset[0] : 0, row + first);
    put_halves<side>(w.numbers + side, w.scale[1], Unit::has_offset ? w.offset[1] : 0, row + second);
  }
}

DEVICE void put_tokens(const TilesArguments& a, unsigned begin, uint16_t* tile) {
  constexpr unsigned in_row = tile_columns / 8;
  for (unsigned i = threadIdx.x; i < tile_tokens * in_row; i += multiply_threads) {
    const unsigned index = i / in_row, token = blockIdx.y * tile_tokens + index, column = i % in_row * 8;
    uint4 v{0, 0, 0, 0};
    if (token < a.multiply.tokens)
      v = cached16(reinterpret_cast<const unsigned char*>(a.halves + static_cast<size_t>(token) * a.half_stride +
                                                          begin + column));
    *reinterpret_cast<uint4*>(tile + index * tile_stride + column) = v;
  }
}

// ---- The product ----

DEVICE uint32_t two_halves(const uint16_t* p) { return *reinterpret_cast<const uint32_t*>(p); }

// 32 x 32 sums of a warp: 2 x 4 products of 16 x 8, of which each lane holds four (see multiply_halves()).
struct WarpSums {
  float sums[2][4][4];

  DEVICE void add(const uint16_t* rows, const uint16_t* tokens, unsigned lane) {
    const unsigned group = lane / 4, pair = lane % 4 * 2;
    UNROLL
    for (unsigned k = 0; k < tile_columns; k += 16) {
      uint32_t a[2][4], b[4][2];
      UNROLL
      for (unsigned m = 0; m < 2; m++) UNROLL
      for (unsigned i = 0; i < 4; i++)
        a[m][i] = two_halves(rows + (m * 16 + group + i % 2 * 8) * tile_stride + k + pair + i / 2 * 8);
      UNROLL
      for (unsigned n = 0; n < 4; n++) UNROLL
      for (unsigned i = 0; i < 2; i++) b[n][i] = two_halves(tokens + (n * 8 + group) * tile_stride + k + pair + i * 8);
      UNROLL
      for (unsigned m = 0; m < 2; m++) UNROLL
      for (unsigned n = 0; n < 4; n++) multiply_halves(sums[m][n], a[m], b[n]);
    }
  }
};

// Gives out the two sums of one token that a lane holds of 16 rows: 8 rows apart, or a row's gate and its other factor.
DEVICE void put_sums(const TilesArguments& a, unsigned row_index, unsigned token, float first, float second) {
  const MultiplyArguments& m = a.multiply;
  if (token >= m.tokens) return;
  const float scale = a.scales[token], values[2] = {first * scale, second * scale};
  UNROLL
  for (unsigned i = 0; i < 2; i++) {
    const ProductRow to = tile_row(m, blockIdx.x, row_index + i * 8);
    if (!to.there || (m.gated && i > 0)) continue;
    const ProductArguments& product = m.products[to.product];
    float value = values[i];
    if (m.gated)
      value = activate(value, m.gated - 1) * values[1];
    else if (product.bias)
      value += product.bias[to.row];
    product.out[static_cast<size_t>(token) * product.out_stride + to.row] = value;
  }
}

template <typename Unit>
DEVICE void multiply_tiles(const TilesArguments& a) {
  SHARED(uint4, row_memory, tile_rows * tile_stride / 8);
  SHARED(uint4, token_memory, tile_tokens * tile_stride / 8);
  auto* const rows = reinterpret_cast<uint16_t*>(row_memory);
  auto* const tokens = reinterpret_cast<uint16_t*>(token_memory);
  const unsigned lane = threadIdx.x % warp_lanes, warp = threadIdx.x / warp_lanes;
  const unsigned first_row = warp / 2 * 32, first_token = warp % 2 * 32;

  WarpSums all{};
  for (unsigned begin = 0; begin < a.multiply.columns; begin += tile_columns) {
    if (begin) __syncthreads();
    put_weights<Unit>(a.multiply, begin, rows);
    put_tokens(a, begin, tokens);
    __syncthreads();
    all.add(rows + first_row * tile_stride, tokens + first_token * tile_stride, lane);
  }
  UNROLL
  for (unsigned m = 0; m < 2; m++) UNROLL
  for (unsigned n = 0; n < 4; n++) UNROLL
  for (unsigned i = 0; i < 2; i++)
    put_sums(a, first_row + m * 16 + lane / 4, blockIdx.y * tile_tokens + first_token + n * 8 + lane % 4 * 2 + i,
             all.sums[m][n][i], all.sums[m][n][i + 2]);
}

}  // namespace llmos::cuda
