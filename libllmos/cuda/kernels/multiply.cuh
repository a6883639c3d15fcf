// SPDX-License-Identifier: MIT
// Weights times activations. A warp takes a few rows of the weights and a few tokens; its lanes go through a row's
// units side by side. The activations come from shared memory, a chunk at a time, so arranged that eight lanes that
// read 16 bytes each find them in different banks.
#pragma once

#include "cuda/kernels/products.cuh"
#include "cuda/kernels/weights.cuh"

namespace llmos::cuda {

inline constexpr unsigned staged_floats = 4096;  // of activations in shared memory, all tokens together

// Where the float4 that holds columns 4 i … 4 i + 3 of a chunk lies.
DEVICE unsigned scatter(unsigned i) { return (i & ~7u) | ((i ^ i >> 3) & 7); }

// Columns [first, first + count) of the tokens from `token` on; zeros where there are none.
template <unsigned kTokens>
DEVICE void stage(const MultiplyArguments& a, unsigned token, unsigned first, unsigned count, float4* staged) {
  constexpr unsigned chunk = staged_floats / kTokens / 4;
  const bool whole_vectors = a.x_stride % 4 == 0 && a.columns % 4 == 0;
  for (unsigned t = 0; t < kTokens; t++) {
    const float* row = a.x + static_cast<size_t>(token + t) * a.x_stride;
    for (unsigned i = threadIdx.x; i < (count + 3) / 4; i += multiply_threads) {
      float4 v{0, 0, 0, 0};
      const unsigned column = first + 4 * i;
      if (token + t < a.tokens && column < a.columns) {
        if (whole_vectors) {
          v = load_floats(row + column);
        } else {
          v.x = row[column];
          if (column + 1 < a.columns) v.y = row[column + 1];
          if (column + 2 < a.columns) v.z = row[column + 2];
          if (column + 3 < a.columns) v.w = row[column + 3];
        }
      }
      staged[t * chunk + scatter(i)] = v;
    }
  }
}

// Side `kSide` of a unit times one token's columns from `first` (in float4) on: the product, and the columns' sum.
template <unsigned kSide, unsigned kColumns>
DEVICE void add_side(const Numbers<kColumns>& w, const float4* x, unsigned first, float& product, float& sum) {
  if constexpr (kColumns == 4) {  // both sides are in one float4
    const float4 v = x[scatter(first)];
    product += kSide ? w.numbers[2] * v.z + w.numbers[3] * v.w : w.numbers[0] * v.x + w.numbers[1] * v.y;
  } else {
    UNROLL
    for (unsigned i = 0; i < kColumns / 8; i++) {
      const float4 v = x[scatter(first + i)];
      const float* n = w.numbers + kSide * (kColumns / 2) + 4 * i;
      product += n[0] * v.x;
      product += n[1] * v.y;
      product += n[2] * v.z;
      product += n[3] * v.w;
      sum += (v.x + v.y) + (v.z + v.w);
    }
  }
}

template <typename Unit>
DEVICE float unit_times(const Numbers<Unit::columns>& w, const float4* x, unsigned first, unsigned second) {
  float low = 0, high = 0, low_sum = 0, high_sum = 0;
  add_side<0>(w, x, first / 4, low, low_sum);
  add_side<1>(w, x, second / 4, high, high_sum);
  float result = w.scale[0] * low + w.scale[1] * high;
  if constexpr (Unit::has_offset) result += w.offset[0] * low_sum + w.offset[1] * high_sum;
  return result;
}

// Row `index` of those that a warp takes. When gated, these are half as many of the first weight, then of the second.
template <unsigned kRows>
DEVICE ProductRow warp_row(const MultiplyArguments& a, unsigned warp, unsigned index) {
  constexpr unsigned half = kRows / 2;
  if (a.gated) return row_of_gate(a, index / half, warp * half + index % half);
  return row_of_all(a, warp * kRows + index);
}

template <typename Unit, unsigned kTokens, unsigned kRows>
DEVICE void multiply(const MultiplyArguments& a) {
  constexpr unsigned chunk = staged_floats / kTokens;
  SHARED(float4, staged, staged_floats / 4);
  const unsigned lane = threadIdx.x % warp_lanes, token = blockIdx.y * kTokens;
  const unsigned warp = blockIdx.x * (multiply_threads / warp_lanes) + threadIdx.x / warp_lanes;
  const unsigned units = units_of<Unit>(a.columns);

  float sums[kRows][kTokens] = {};
  for (unsigned begin = 0; begin < a.columns; begin += chunk) {
    const unsigned end = begin + chunk < units * Unit::columns ? begin + chunk : units * Unit::columns;
    if (begin) __syncthreads();
    stage<kTokens>(a, token, begin, end - begin, staged);
    __syncthreads();
    for (unsigned unit = begin / Unit::columns + lane; unit < end / Unit::columns; unit += warp_lanes) {
      Unit read[kRows];
      UNROLL
      for (unsigned r = 0; r < kRows; r++) {
        const ProductRow from = warp_row<kRows>(a, warp, r);
        read[r] = Unit::load(a.products[from.product].weight, from.row, units, unit);
      }
      const auto times = [&](const Numbers<Unit::columns>& numbers, unsigned t) {
        return unit_times<Unit>(numbers, staged + t * (chunk / 4), Unit::first(unit) - begin,
                                Unit::second(unit) - begin);
      };
      if constexpr (kTokens == 1) {  // one row's numbers at a time, the token's columns for all of them
        UNROLL
        for (unsigned r = 0; r < kRows; r++) {
          Numbers<Unit::columns> numbers;
          read[r].decode(unit, numbers);
          sums[r][0] += times(numbers, 0);
        }
      } else {  // one token's columns at a time, for the numbers of all rows
        Numbers<Unit::columns> numbers[kRows];
        UNROLL
        for (unsigned r = 0; r < kRows; r++) read[r].decode(unit, numbers[r]);
        UNROLL
        for (unsigned t = 0; t < kTokens; t++) UNROLL
        for (unsigned r = 0; r < kRows; r++) sums[r][t] += times(numbers[r], t);
      }
    }
  }

  UNROLL
  for (unsigned r = 0; r < kRows; r++) UNROLL
  for (unsigned t = 0; t < kTokens; t++) sums[r][t] = warp_sum(sums[r][t]);
  if (lane != 0) return;
  UNROLL
  for (unsigned r = 0; r < kRows; r++) {
    const ProductRow to = warp_row<kRows>(a, warp, r);
    if (!to.there || (a.gated && r >= kRows / 2)) continue;
    const ProductArguments& product = a.products[to.product];
    UNROLL
    for (unsigned t = 0; t < kTokens; t++) {
      if (token + t >= a.tokens) continue;
      float value = sums[r][t];
      if (a.gated)
        value = activate(value, a.gated - 1) * sums[(r + kRows / 2) % kRows][t];
      else if (product.bias)
        value += product.bias[to.row];
      product.out[static_cast<size_t>(token + t) * product.out_stride + to.row] = value;
    }
  }
}

// A row of the table for each token.
template <typename Unit>
DEVICE void embed(const EmbedArguments& a) {
  const size_t token = static_cast<size_t>(a.tokens[blockIdx.x]);
  float* out = a.out + static_cast<size_t>(blockIdx.x) * a.columns;
  const unsigned units = units_of<Unit>(a.columns);
  for (unsigned unit = threadIdx.x; unit < units; unit += row_threads) {
    Numbers<Unit::columns> w;
    Unit::load(a.table, token, units, unit).decode(unit, w);
    UNROLL
    for (unsigned i = 0; i < Unit::columns; i++) {
      const unsigned side = i / (Unit::columns / 2), within = i % (Unit::columns / 2);
      const unsigned column = (side ? Unit::second(unit) : Unit::first(unit)) + within;
      float value = w.scale[side] * w.numbers[i];
      if constexpr (Unit::has_offset) value += w.offset[side];
      if (column < a.columns) out[column] = value * a.scale;
    }
  }
}

}  // namespace llmos::cuda
