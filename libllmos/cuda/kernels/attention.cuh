// SPDX-License-Identifier: MIT
// The key-value cache and attention over it. A page holds 64 positions; in it each head of each layer has its keys, one
// position after another, then its values likewise. A Q8_0 head has the bytes of all positions first, then their
// scales, one for each 32 components. Half-precision heads are padded to a multiple of 8 components.
#pragma once

#include "cuda/kernels/device.cuh"

namespace llmos::cuda {

// The keys (or, one head_bytes later, the values) of one head in the page of a position.
DEVICE unsigned char* head_of(const CachePlace& cache, RowPlace row, unsigned position, unsigned head) {
  return cache.pages[row.first_page + position / page_positions] + cache.layer_offset + head * 2 * cache.head_bytes;
}

// A block for a row of the batch, and another for its values.
DEVICE void store_f16(const StoreArguments& a) {
  const unsigned row = blockIdx.x, is_value = blockIdx.y;
  const RowPlace place = a.cache.rows[row];
  const float* from = (is_value ? a.value : a.key) + static_cast<size_t>(row) * a.heads * a.head_size;
  for (unsigned i = threadIdx.x; i < a.heads * a.head_stride; i += row_threads) {
    const unsigned head = i / a.head_stride, component = i % a.head_stride;
    unsigned char* page = head_of(a.cache, place, place.position, head) + is_value * a.cache.head_bytes;
    auto* halves = reinterpret_cast<uint16_t*>(page) + place.position % page_positions * a.head_stride;
    halves[component] = component < a.head_size ? float_to_half(from[head * a.head_size + component]) : 0;
  }
}

// The same; a warp makes a block of 32 components. The scale is rounded first, so that it is the one used.
DEVICE void store_q8_0(const StoreArguments& a) {
  const unsigned row = blockIdx.x, is_value = blockIdx.y, lane = threadIdx.x % warp_lanes;
  const unsigned blocks = a.head_size / cache_block, warps = row_threads / warp_lanes;
  const RowPlace place = a.cache.rows[row];
  const unsigned slot = place.position % page_positions;
  const float* from = (is_value ? a.value : a.key) + static_cast<size_t>(row) * a.heads * a.head_size;
  for (unsigned i = threadIdx.x / warp_lanes; i < a.heads * blocks; i += warps) {
    const unsigned head = i / blocks, block = i % blocks;
    unsigned char* page = head_of(a.cache, place, place.position, head) + is_value * a.cache.head_bytes;
    const float value = from[head * a.head_size + block * cache_block + lane];
    const uint16_t half = float_to_half(warp_max(fabsf(value)) / 127.0f);
    const float step = half_to_float(half), inverse = step > 0 ? 1.0f / step : 0.0f;
    const float rounded = fminf(fmaxf(round_to_even(value * inverse), -127.0f), 127.0f);
    page[slot * a.head_size + block * cache_block + lane] = static_cast<unsigned char>(static_cast<int>(rounded));
    auto* scales = reinterpret_cast<uint16_t*>(page + page_positions * a.head_size);
    if (lane == 0) scales[slot * blocks + block] = half;
  }
}

struct HalfCache {
  DEVICE static void load(const unsigned char* head, unsigned slot, unsigned component, const AttendArguments& a,
                          float* out) {
    const uint4 halves = cached16(head + (slot * a.head_stride + component) * 2);
    const unsigned words[4] = {halves.x, halves.y, halves.z, halves.w};
    UNROLL
    for (unsigned i = 0; i < lane_components; i++)
      out[i] = half_to_float(static_cast<uint16_t>(words[i / 2] >> 16 * (i % 2)));
  }

  // The same components as halves to shared memory, or zeros; there after wait_for_copies().
  DEVICE static void fetch(const unsigned char* head, unsigned slot, unsigned component, const AttendArguments& a,
                           bool there, uint16_t* to) {
    copy_async(to, head + (slot * a.head_stride + component) * 2, there);
  }
};

struct ByteCache {
  DEVICE static void load(const unsigned char* head, unsigned slot, unsigned component, const AttendArguments& a,
                          float* out) {
    const uint2 bytes = cached8(head + slot * a.head_size + component);
    const unsigned char* scales = head + page_positions * a.head_size;
    const float scale = half_to_float(
        *reinterpret_cast<const uint16_t*>(scales + 2 * ((slot * a.head_size + component) / cache_block)));
    const unsigned words[2] = {bytes.x, bytes.y};
    UNROLL
    for (unsigned i = 0; i < lane_components; i++)
      out[i] = scale * static_cast<float>(static_cast<signed char>(words[i / 4] >> 8 * (i % 4)));
  }

  DEVICE static void fetch(const unsigned char* head, unsigned slot, unsigned component, const AttendArguments& a,
                           bool there, uint16_t* to) {
    float v[lane_components] = {};
    if (there) load(head, slot, component, a, v);
    *reinterpret_cast<uint4*>(to) = {round_to_halves(v[0], v[1]), round_to_halves(v[2], v[3]),
                                     round_to_halves(v[4], v[5]), round_to_halves(v[6], v[7])};
  }
};

// What some positions add up to: the highest score, the sum of e^(score - highest), and the values so weighted.
struct Gathered {
  float highest, sum;
  float values[lane_components];

  DEVICE void add(float score, const float* value) {
    const float now = fmaxf(highest, score), fade = expf(highest - now), weight = expf(score - now);
    sum = sum * fade + weight;
    UNROLL
    for (unsigned i = 0; i < lane_components; i++) values[i] = values[i] * fade + weight * value[i];
    highest = now;
  }

  // Takes in what others have gathered; both may be empty (highest = -infinity).
  DEVICE void merge(float other_highest, float other_sum, const float* other_values) {
    const float now = fmaxf(highest, other_highest);
    if (now == -INFINITY) return;
    const float mine = expf(highest - now), theirs = expf(other_highest - now);
    sum = sum * mine + other_sum * theirs;
    UNROLL
    for (unsigned i = 0; i < lane_components; i++) values[i] = values[i] * mine + other_values[i] * theirs;
    highest = now;
  }
};

// A block for a row of the batch and a head of its query. Lanes in groups of `lanes` share a position, 8 components
// each; groups and warps go through the positions in turn and are merged at the end.
template <typename Cache>
DEVICE void attend(const AttendArguments& a) {
  constexpr unsigned warps = attend_threads / warp_lanes;
  SHARED(float, ends, warps * 2);
  SHARED(float, parts, warps* most_head_size);
  const unsigned lane = threadIdx.x % warp_lanes, warp = threadIdx.x / warp_lanes;
  const unsigned component = lane % a.lanes * lane_components, group = lane / a.lanes, groups = warp_lanes / a.lanes;
  const unsigned row = blockIdx.x, head = blockIdx.y;
  const bool has_components = component < a.head_stride;
  const RowPlace place = a.cache.rows[row];
  const unsigned end = place.position + 1, begin = end > a.window ? end - a.window : 0;

  float query[lane_components];
  const float* from = a.query + (static_cast<size_t>(row) * a.heads + head) * a.head_size;
  UNROLL
  for (unsigned i = 0; i < lane_components; i++)
    query[i] = component + i < a.head_size ? from[component + i] * a.scale : 0.0f;

  Gathered all{-INFINITY, 0, {}};
  for (unsigned base = begin + warp * groups; base < end; base += warps * groups) {  // the same for all lanes
    const unsigned position = base + group, slot = position % page_positions;
    const bool seen = position < end && has_components;
    const unsigned char* keys = seen ? head_of(a.cache, place, position, head / a.group) : nullptr;
    float score = 0, vector[lane_components];
    if (seen) {
      Cache::load(keys, slot, component, a, vector);
      UNROLL
      for (unsigned i = 0; i < lane_components; i++) score += query[i] * vector[i];
    }
    for (unsigned bits = a.lanes / 2; bits; bits /= 2) score += __shfl_xor_sync(all_lanes, score, bits);
    if (a.soft_cap > 0) score = a.soft_cap * tanhf(score / a.soft_cap);
    if (seen) {
      Cache::load(keys + a.cache.head_bytes, slot, component, a, vector);
      all.add(score, vector);
    }
  }
  for (unsigned bits = a.lanes; bits < warp_lanes; bits *= 2) {
    float values[lane_components];
    UNROLL
    for (unsigned i = 0; i < lane_components; i++) values[i] = __shfl_xor_sync(all_lanes, all.values[i], bits);
    const float highest = __shfl_xor_sync(all_lanes, all.highest, bits);
    const float sum = __shfl_xor_sync(all_lanes, all.sum, bits);
    all.merge(highest, sum, values);
  }

  if (lane < a.lanes)
    for (unsigned i = 0; i < lane_components; i++) parts[warp * most_head_size + component + i] = all.values[i];
  if (lane == 0) {
    ends[2 * warp] = all.highest;
    ends[2 * warp + 1] = all.sum;
  }
  __syncthreads();
  float highest = -INFINITY, sum = 0;
  for (unsigned w = 0; w < warps; w++) highest = fmaxf(highest, ends[2 * w]);
  for (unsigned w = 0; w < warps; w++) sum += ends[2 * w + 1] * expf(ends[2 * w] - highest);
  float* out = a.out + (static_cast<size_t>(row) * a.heads + head) * a.head_size;
  for (unsigned i = threadIdx.x; i < a.head_size; i += attend_threads) {
    float value = 0;
    for (unsigned w = 0; w < warps; w++) value += parts[w * most_head_size + i] * expf(ends[2 * w] - highest);
    out[i] = value / sum;
  }
}

}  // namespace llmos::cuda
