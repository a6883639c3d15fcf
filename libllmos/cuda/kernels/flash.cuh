// SPDX-License-Identifier: MIT
// Attention of a prompt by tensor cores, after FlashAttention-2 (Dao, 2023): a block takes a tile of queries and goes
// through the cache a tile of positions at a time, and no score ever leaves its registers. The queries of all heads
// that share a head of the cache are one after another, token by token, so that even a short prompt fills a tile. Each
// warp has 16 of them. Queries and weights are rounded to halves; scores, sums and results are floats.
#pragma once

#include "cuda/kernels/attention.cuh"

namespace llmos::cuda {

// Of heads with up to kSize components; what a head has fewer is zeros.
template <unsigned kSize>
struct FlashTile {
  static constexpr unsigned keys = kSize > 128 ? 16 : kSize > 96 ? 32 : 64;  // a page is a whole number of tiles
  static constexpr unsigned stride = kSize + 8;  // of halves in shared memory: rows begin in different banks
  // Queries are kept in registers, 16 columns after 16 columns, but for those that do not fit beside the values.
  static constexpr unsigned steps = kSize / 16, held = steps > 8 ? 4 : steps, set_aside = steps - held;
};

// A warp's queries, as multiply_halves() takes them, and whose they are. Lane l has those of rows l / 4 and l / 4 + 8.
template <unsigned kSize>
struct FlashQueries {
  static constexpr unsigned held = FlashTile<kSize>::held;
  uint32_t halves[held][4];
  uint4* aside;      // in shared memory: those of all threads, one after another
  float factors[2];  // that make scores of sums
  unsigned positions[2];
  unsigned oldest, first, last;  // positions: the oldest that one of the warp's sees, and those of its first and last
  bool there;

  DEVICE void load(const AttendArguments& a, const QueryTile& tile, unsigned begin, unsigned lane, uint4* set_aside) {
    aside = set_aside + threadIdx.x;
    const unsigned count = tile.rows * a.group, start = a.cache.rows[tile.row].position;
    there = begin < count;
    first = start + begin / a.group;
    last = start + (begin + 15 < count ? begin + 15 : count - 1) / a.group;
    oldest = first + 1 > a.window ? first + 1 - a.window : 0;
    UNROLL
    for (unsigned r = 0; r < 2; r++) {
      const unsigned wanted = begin + lane / 4 + r * 8, index = wanted < count ? wanted : count - 1;
      positions[r] = start + index / a.group;
      const size_t row = static_cast<size_t>(tile.row + index / a.group) * a.heads;
      load_row(a, a.query + (row + blockIdx.y * a.group + index % a.group) * a.head_size, lane % 4 * 2, r);
    }
  }

  DEVICE void read(unsigned step, uint32_t (&out)[4]) const {
    if (step < held) {
      UNROLL
      for (unsigned i = 0; i < 4; i++) out[i] = halves[step < held ? step : 0][i];
    } else {
      const uint4 v = aside[(step - held) * attend_threads];
      out[0] = v.x;
      out[1] = v.y;
      out[2] = v.z;
      out[3] = v.w;
    }
  }

 private:
  // Lanes of four share a row. It is scaled to fit halves, and so that scores are exponents of two.
  DEVICE void load_row(const AttendArguments& a, const float* row, unsigned pair, unsigned r) {
    const auto at = [&](unsigned column) { return column < a.head_size ? row[column] : 0.0f; };
    float largest = 0;
    for (unsigned k = pair; k < a.head_size; k += 8) largest = fmaxf(largest, fmaxf(fabsf(row[k]), fabsf(at(k + 1))));
    UNROLL
    for (unsigned bits = 1; bits < 4; bits *= 2) largest = fmaxf(largest, __shfl_xor_sync(all_lanes, largest, bits));
    const float scale = half_scale(largest), inverse = 1 / scale;
    factors[r] = scale * a.scale * (a.soft_cap > 0 ? 1 / a.soft_cap : log2_of_e);
    UNROLL
    for (unsigned k = 0; k < kSize; k += 8) {
      const unsigned step = k / 16, place = r + k / 8 % 2 * 2;
      const uint32_t both = round_to_halves(at(k + pair) * inverse, at(k + pair + 1) * inverse);
      if (step < held)
        halves[step < held ? step : 0][place] = both;
      else
        reinterpret_cast<uint32_t*>(aside + (step - held) * attend_threads)[place] = both;
    }
  }
};

// What a warp's queries have gathered: the highest score, the weights' sum (a lane's share) and the weighted values.
template <unsigned kSize>
struct FlashGathered {
  static constexpr unsigned keys = FlashTile<kSize>::keys, stride = FlashTile<kSize>::stride;
  float highest[2], sums[2];
  float values[kSize / 8][4];

  DEVICE void clear() {
    UNROLL
    for (unsigned r = 0; r < 2; r++) {
      highest[r] = -INFINITY;
      sums[r] = 0;
    }
    UNROLL
    for (unsigned d = 0; d < kSize / 8; d++) UNROLL
    for (unsigned i = 0; i < 4; i++) values[d][i] = 0;
  }

  // From sums to weights, e^(score - highest): what was gathered before fades as the highest rises.
  DEVICE void weigh(const AttendArguments& a, const FlashQueries<kSize>& q, unsigned begin, unsigned lane,
                    float (&scores)[keys / 8][4]) {
    const bool some_hidden = begin + keys - 1 > q.first || q.last - begin >= a.window;
    UNROLL
    for (unsigned r = 0; r < 2; r++) {
      float now = highest[r];
      UNROLL
      for (unsigned i = 0; i < keys / 4; i++) {
        float& score = scores[i / 2][r * 2 + i % 2];
        score *= q.factors[r];
        if (a.soft_cap > 0) score = a.soft_cap * log2_of_e * tanhf(score);
        const unsigned position = begin + i / 2 * 8 + lane % 4 * 2 + i % 2;
        if (some_hidden && (position > q.positions[r] || q.positions[r] - position >= a.window)) score = -INFINITY;
        now = fmaxf(now, score);
      }
      UNROLL
      for (unsigned bits = 1; bits < 4; bits *= 2) now = fmaxf(now, __shfl_xor_sync(all_lanes, now, bits));
      const float base = now == -INFINITY ? 0.0f : now, fade = exp2f(highest[r] - base);
      highest[r] = now;
      sums[r] *= fade;
      UNROLL
      for (unsigned i = 0; i < keys / 4; i++) {
        float& score = scores[i / 2][r * 2 + i % 2];
        score = exp2f(score - base);
        sums[r] += score;
      }
      UNROLL
      for (unsigned d = 0; d < kSize / 8; d++) {
        values[d][r * 2] *= fade;
        values[d][r * 2 + 1] *= fade;
      }
    }
  }

  // The weights stand where the tensor cores take their first factor from.
  DEVICE void add(const float (&weights)[keys / 8][4], const uint16_t* tile, unsigned lane) {
    UNROLL
    for (unsigned k = 0; k < keys / 16; k++) {
      uint32_t rounded[4];
      UNROLL
      for (unsigned i = 0; i < 4; i++) {
        const float* pair = weights[k * 2 + i / 2] + i % 2 * 2;
        rounded[i] = round_to_halves(pair[0], pair[1]);
      }
      UNROLL
      for (unsigned d = 0; d < kSize / 16; d++) {
        uint32_t b[4];
        load_matrices_across(b, tile + (k * 16 + lane % 16) * stride + d * 16 + lane / 16 * 8);
        multiply_halves(values[d * 2], rounded, {b[0], b[1]});
        multiply_halves(values[d * 2 + 1], rounded, {b[2], b[3]});
      }
    }
  }
};

template <unsigned kSize>
DEVICE void flash_scores(const FlashQueries<kSize>& q, const uint16_t* tile, unsigned lane,
                         float (&scores)[FlashTile<kSize>::keys / 8][4]) {
  constexpr unsigned columns = FlashTile<kSize>::keys / 8;
  UNROLL
  for (unsigned n = 0; n < columns; n++) UNROLL
  for (unsigned i = 0; i < 4; i++) scores[n][i] = 0;
  UNROLL
  for (unsigned step = 0; step < FlashTile<kSize>::steps; step += 2) {
    uint32_t first[4], second[4];
    q.read(step, first);
    q.read(step + 1, second);
    UNROLL
    for (unsigned n = 0; n < columns; n++) {
      uint32_t b[4];
      load_matrices(b, tile + (n * 8 + lane % 8) * FlashTile<kSize>::stride + step * 16 + lane / 8 * 8);
      multiply_halves(scores[n], first, {b[0], b[1]});
      multiply_halves(scores[n], second, {b[2], b[3]});
    }
  }
}

// Brings the keys (`side` 0) or values (1) of the positions from `begin` on to shared memory; zeros behind `end`.
template <typename Cache, unsigned kSize>
DEVICE void flash_fetch(const AttendArguments& a, RowPlace place, unsigned begin, unsigned end, unsigned side,
                        uint16_t* tile) {
  constexpr unsigned in_row = kSize / lane_components;
  const unsigned char* head = head_of(a.cache, place, begin, blockIdx.y) + side * a.cache.head_bytes;
  UNROLL
  for (unsigned round = 0; round < FlashTile<kSize>::keys * in_row / attend_threads; round++) {
    const unsigned i = round * attend_threads + threadIdx.x, key = i / in_row, component = i % in_row * lane_components;
    const bool there = begin + key < end && component < a.head_stride;
    Cache::fetch(head, (begin + key) % page_positions, component, a, there,
                 tile + key * FlashTile<kSize>::stride + component);
  }
}

// A block for a tile of queries and a head of the cache. Values are on their way while scores are made, and the next
// keys while values are added up.
template <typename Cache, unsigned kSize>
DEVICE void flash(const FlashArguments& f) {
  constexpr unsigned keys = FlashTile<kSize>::keys, stride = FlashTile<kSize>::stride;
  SHARED(uint4, key_memory, keys * stride / 8);
  SHARED(uint4, value_memory, keys * stride / 8);
  SHARED(uint4, query_memory, FlashTile<kSize>::set_aside * attend_threads + 1);
  auto* const key_tile = reinterpret_cast<uint16_t*>(key_memory);
  auto* const value_tile = reinterpret_cast<uint16_t*>(value_memory);
  const AttendArguments& a = f.attend;
  const QueryTile tile = f.tiles[blockIdx.x];
  const unsigned lane = threadIdx.x % warp_lanes, first = tile.first + threadIdx.x / warp_lanes * 16;
  const unsigned count = tile.rows * a.group,
                 behind = tile.first + tile_queries < count ? tile.first + tile_queries : count;
  const RowPlace place = a.cache.rows[tile.row];
  const unsigned start = place.position + tile.first / a.group, end = place.position + (behind - 1) / a.group + 1;

  FlashQueries<kSize> queries;
  queries.load(a, tile, first, lane, query_memory);
  FlashGathered<kSize> all;
  all.clear();
  unsigned begin = (start + 1 > a.window ? start + 1 - a.window : 0) / keys * keys;
  flash_fetch<Cache, kSize>(a, place, begin, end, 0, key_tile);
  for (; begin < end; begin += keys) {
    const bool sees = queries.there && begin <= queries.last && begin + keys > queries.oldest;  // the same for a warp
    float scores[keys / 8][4];
    wait_for_copies();
    __syncthreads();  // the keys are there, and the last values are not needed any more
    flash_fetch<Cache, kSize>(a, place, begin, end, 1, value_tile);
    if (sees) flash_scores<kSize>(queries, key_tile, lane, scores);
    wait_for_copies();
    __syncthreads();
    if (begin + keys < end) flash_fetch<Cache, kSize>(a, place, begin + keys, end, 0, key_tile);
    if (!sees) continue;
    all.weigh(a, queries, begin, lane, scores);
    all.add(scores, value_tile, lane);
  }

  UNROLL
  for (unsigned r = 0; r < 2; r++) {
    float sum = all.sums[r];
    UNROLL
    for (unsigned bits = 1; bits < 4; bits *= 2) sum += __shfl_xor_sync(all_lanes, sum, bits);
    const unsigned index = first + lane / 4 + r * 8;
    if (index >= count) continue;
    const size_t row = static_cast<size_t>(tile.row + index / a.group) * a.heads;
    float* out = a.out + (row + blockIdx.y * a.group + index % a.group) * a.head_size;
    UNROLL
    for (unsigned i = 0; i < kSize / 4; i++) {
      const unsigned column = i / 2 * 8 + lane % 4 * 2 + i % 2;
      if (column < a.head_size) out[column] = all.values[i / 2][r * 2 + i % 2] / sum;
    }
  }
}

}  // namespace llmos::cuda
