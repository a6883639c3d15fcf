// SPDX-License-Identifier: MIT
// Attention of one sequence and one key-value head over pages of the cache, with a running softmax: a page's scores
// never leave the cache. Included once per instruction set.
#pragma once

#include <type_traits>

#include "backend/cpu/kernels.hpp"
#include "backend/cpu/simd.hpp"

namespace llmos::core::LLMOS_SET {

inline constexpr size_t row_tile = lanes == 16 ? 8 : 4;  // query rows whose sums stay in registers

// One head's keys in a page, transposed: component d of position p is element d * page_positions + p.
struct HalfPage {
  const uint16_t* data;
  Float keys(size_t component, size_t position) const {
    return load_half(data + component * page_positions + position);
  }
  Float key_scale(size_t, size_t) const { return set(1.0f); }
  Float values(size_t position, size_t component, size_t head_size) const {
    return load_half(data + position * head_size + component);
  }
  float value(size_t position, size_t component, size_t head_size) const {
    return half(data[position * head_size + component]);
  }
};

// The same as bytes; the scales follow them, for keys [component / 32][position], for values [position][component /
// 32].
struct BytePage {
  const int8_t* data;
  const uint16_t* scales;
  Float keys(size_t component, size_t position) const {
    return load_bytes(data + component * page_positions + position);
  }
  Float key_scale(size_t component, size_t position) const {
    return load_half(scales + component / quant_block * page_positions + position);
  }
  Float values(size_t position, size_t component, size_t head_size) const {
    const float scale = half(scales[(position * head_size + component) / quant_block]);
    return load_bytes(data + position * head_size + component) * set(scale);
  }
  float value(size_t position, size_t component, size_t head_size) const {
    const size_t index = position * head_size + component;
    return half(scales[index / quant_block]) * static_cast<float>(data[index]);
  }
};

inline HalfPage open_page(const std::byte* page, size_t, const HalfPage*) {
  return {reinterpret_cast<const uint16_t*>(page)};
}
inline BytePage open_page(const std::byte* page, size_t head_size, const BytePage*) {
  const auto* data = reinterpret_cast<const int8_t*>(page);
  return {data, reinterpret_cast<const uint16_t*>(data + page_positions * head_size)};
}

// scores[r][p] = query row r . key p, for kRows rows and every position of the page below `used`.
template <size_t kRows, typename Page>
inline void score_rows(const float* const* query, const Page& page, size_t head_size, size_t used, float scale,
                       float* scores) {
  const size_t run = std::is_same_v<Page, BytePage> ? quant_block : head_size;  // components that share a scale
  for (size_t position = 0; position < used; position += lanes) {
    Float sum[kRows];
    for (size_t r = 0; r < kRows; r++) sum[r] = zero();
    for (size_t first = 0; first < head_size; first += run) {
      Float part[kRows];
      for (size_t r = 0; r < kRows; r++) part[r] = zero();
      for (size_t d = first; d < first + run; d++) {
        const Float key = page.keys(d, position);
        for (size_t r = 0; r < kRows; r++) part[r] = multiply_add(set(query[r][d]), key, part[r]);
      }
      const Float key_scale = page.key_scale(first, position);
      for (size_t r = 0; r < kRows; r++) sum[r] = multiply_add(part[r], key_scale, sum[r]);
    }
    for (size_t r = 0; r < kRows; r++) store(scores + r * page_positions + position, sum[r] * set(scale));
  }
}

// sums[r] += weights[r][p] * value p over the page's positions below `used`, for kRows rows.
template <size_t kRows, typename Page>
inline void add_values(const float* weights, const Page& page, size_t head_size, size_t used, float* sums) {
  size_t d = 0;
  for (; d + lanes <= head_size; d += lanes) {
    Float sum[kRows];
    for (size_t r = 0; r < kRows; r++) sum[r] = load(sums + r * head_size + d);
    for (size_t p = 0; p < used; p++) {
      const Float value = page.values(p, d, head_size);
      for (size_t r = 0; r < kRows; r++) sum[r] = multiply_add(set(weights[r * page_positions + p]), value, sum[r]);
    }
    for (size_t r = 0; r < kRows; r++) store(sums + r * head_size + d, sum[r]);
  }
  for (; d < head_size; d++)
    for (size_t r = 0; r < kRows; r++)
      for (size_t p = 0; p < used; p++)
        sums[r * head_size + d] += weights[r * page_positions + p] * page.value(p, d, head_size);
}

// The highest score a query row has met so far, and the sum of its weights relative to that score.
struct Softmax {
  float peak = -INFINITY, sum = 0;
};

// Turns a row's scores in a page into weights: those of positions [from, to) by e^(score - peak), all others zero.
// `gathered`, what the row has summed up from earlier pages, fades when the peak rises.
inline void weigh(float* scores, size_t from, size_t to, float cap, Softmax& state, float* gathered, size_t head_size) {
  if (from >= to) {
    std::memset(scores, 0, page_positions * sizeof(float));
    return;
  }
  if (cap > 0)
    for_each(scores, scores, page_positions,
             [cap](Float v, size_t) { return set(cap) * hyperbolic_tangent(v * set(1.0f / cap)); });
  for (size_t p = 0; p < from; p++) scores[p] = -INFINITY;
  for (size_t p = to; p < page_positions; p++) scores[p] = -INFINITY;

  Float highest = set(state.peak);
  for (size_t p = 0; p < page_positions; p += lanes) highest = larger(highest, load(scores + p));
  const float peak = largest(highest);
  if (peak > state.peak) {
    const float fade = std::exp(state.peak - peak);
    state = {peak, state.sum * fade};
    for_each(gathered, gathered, head_size, [fade](Float v, size_t) { return v * set(fade); });
  }
  Float sum = zero();
  for (size_t p = 0; p < page_positions; p += lanes) {
    const Float weight = exponential(load(scores + p) - set(peak));
    store(scores + p, weight);
    sum = sum + weight;
  }
  state.sum += total(sum);
}

template <size_t kRows>
struct RowCount {
  static constexpr size_t value = kRows;
};

// Calls body(RowCount<n>, first) so that the n cover `rows` in tiles of row_tile, then of smaller powers of two.
template <size_t kTile = row_tile, typename Body>
inline void in_tiles(size_t rows, size_t first, const Body& body) {
  for (; first + kTile <= rows; first += kTile) body(RowCount<kTile>{}, first);
  if constexpr (kTile > 1) in_tiles<kTile / 2>(rows, first, body);
}

template <typename Page>
inline void attend_pages(const AttentionTask& task, float* gathered, float* scores) {
  const size_t rows = task.tokens * task.heads, size = task.head_size;
  const float* query[attention_rows];
  Softmax state[attention_rows];
  for (size_t r = 0; r < rows; r++) query[r] = task.query + r / task.heads * task.query_stride + r % task.heads * size;
  std::memset(gathered, 0, rows * size * sizeof(float));

  const auto oldest = [&](size_t position) { return position + 1 > task.window ? position + 1 - task.window : 0; };
  const size_t end = task.position + task.tokens;
  for (size_t base = oldest(task.position) / page_positions * page_positions; base < end; base += page_positions) {
    const std::byte* bytes = task.pages[base / page_positions];
    const Page keys = open_page(bytes + task.key_offset, size, static_cast<Page*>(nullptr));
    const Page values = open_page(bytes + task.value_offset, size, static_cast<Page*>(nullptr));
    const size_t used = end - base < page_positions ? end - base : page_positions;
    in_tiles(rows, 0, [&](auto count, size_t first) {
      score_rows<count.value>(query + first, keys, size, used, task.scale, scores + first * page_positions);
    });
    for (size_t r = 0; r < rows; r++) {
      const size_t position = task.position + r / task.heads, start = oldest(position);
      const size_t from = start > base ? start - base : 0;
      const size_t to = position < base ? 0 : position + 1 - base < used ? position + 1 - base : used;
      weigh(scores + r * page_positions, from, to, task.soft_cap, state[r], gathered + r * size, size);
    }
    in_tiles(rows, 0, [&](auto count, size_t first) {
      add_values<count.value>(scores + first * page_positions, values, size, used, gathered + first * size);
    });
  }
  for (size_t r = 0; r < rows; r++) {
    const float inverse = 1.0f / state[r].sum;
    float* out = task.out + r / task.heads * task.out_stride + r % task.heads * size;
    for_each(gathered + r * size, out, size, [inverse](Float v, size_t) { return v * set(inverse); });
  }
}

inline void attend(const AttentionTask& task, std::byte* scratch) {
  float* gathered = reinterpret_cast<float*>(scratch);
  float* scores = gathered + attention_rows * task.head_size;
  if (task.type == CacheType::f16)
    attend_pages<HalfPage>(task, gathered, scores);
  else
    attend_pages<BytePage>(task, gathered, scores);
}

// A vector as bytes with one half-precision scale for each 32; the scale is rounded first, so that it is the one used.
inline void to_bytes(const float* x, int8_t* out, uint16_t* scale) {
  float peak = 0;
  for (size_t i = 0; i < quant_block; i++) peak = std::fmax(peak, std::fabs(x[i]));
  *scale = float_to_half(peak / 127.0f);
  const float step = half(*scale), inverse = step > 0 ? 1.0f / step : 0.0f;
  for (size_t i = 0; i < quant_block; i++)
    out[i] = static_cast<int8_t>(std::fmin(std::fmax(std::nearbyint(x[i] * inverse), -127.0f), 127.0f));
}

inline void store_key(const float* key, size_t head_size, CacheType type, size_t slot, std::byte* page) {
  if (type == CacheType::f16) {
    auto* data = reinterpret_cast<uint16_t*>(page);
    for (size_t d = 0; d < head_size; d++) data[d * page_positions + slot] = float_to_half(key[d]);
    return;
  }
  auto* data = reinterpret_cast<int8_t*>(page);
  auto* scales = reinterpret_cast<uint16_t*>(page + page_positions * head_size);
  for (size_t first = 0; first < head_size; first += quant_block) {
    int8_t bytes[quant_block];
    to_bytes(key + first, bytes, scales + first / quant_block * page_positions + slot);
    for (size_t d = 0; d < quant_block; d++) data[(first + d) * page_positions + slot] = bytes[d];
  }
}

inline void store_value(const float* value, size_t head_size, CacheType type, size_t slot, std::byte* page) {
  if (type == CacheType::f16) {
    auto* data = reinterpret_cast<uint16_t*>(page) + slot * head_size;
    for (size_t d = 0; d < head_size; d++) data[d] = float_to_half(value[d]);
    return;
  }
  auto* data = reinterpret_cast<int8_t*>(page) + slot * head_size;
  auto* scales = reinterpret_cast<uint16_t*>(page + page_positions * head_size) + slot * (head_size / quant_block);
  for (size_t first = 0; first < head_size; first += quant_block)
    to_bytes(value + first, data + first, scales + first / quant_block);
}

}  // namespace llmos::core::LLMOS_SET
