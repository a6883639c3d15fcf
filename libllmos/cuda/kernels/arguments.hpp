// SPDX-License-Identifier: MIT
// What the kernels are given: read by nvcc and by the host's compiler, so that both agree on every byte. A kernel takes
// one of these structures, by value. Pointers are addresses on the device.
#pragma once

#include <cstdint>

namespace llmos::cuda {

// ---- Sizes that host and device have to agree on ----

inline constexpr unsigned warp_lanes = 32;
inline constexpr unsigned multiply_threads = 128, attend_threads = 128, row_threads = 256;
inline constexpr unsigned one_token_rows = 4;  // rows of a weight that a warp multiplies with one token
inline constexpr unsigned many_tokens = 8, many_tokens_rows = 2;
inline constexpr unsigned most_products = 3;    // in one launch
inline constexpr unsigned page_positions = 64;  // of the cache
inline constexpr unsigned lane_components = 8;  // of a head that a lane attends to
inline constexpr unsigned most_head_size = warp_lanes * lane_components;
inline constexpr unsigned cache_block = 32;  // components that share a scale in a Q8_0 cache
inline constexpr unsigned best_part = 4096;  // logits that a block takes the best of
inline constexpr unsigned tile_rows = 64, tile_tokens = 64, tile_columns = 128;  // of a product by tensor cores
inline constexpr unsigned tile_queries = attend_threads / warp_lanes * 16;       // of attention by tensor cores

// ---- Weights ----

// A matrix as the kernels read it: the fields of a type's blocks each in a plane of its own, so that the lanes of a
// warp read neighbouring 16-byte pieces. Which fields a type has is written in packed.cpp; plane 0 holds the numbers.
struct PackedWeight {
  const unsigned char* planes[4];
  uint64_t row_bytes;  // of plane 0
};

struct EmbedArguments {
  PackedWeight table;
  const int32_t* tokens;
  float* out;
  float scale;
  uint32_t columns;
};

struct ProductArguments {
  PackedWeight weight;
  const float* bias;  // nullptr: none
  float* out;
  uint32_t rows, out_stride;
};

// Up to three weights of one type with the same activations; rows are counted through them all. When `gated`, there are
// two of the same shape and out 0 = activation(x * first) * (x * second).
struct MultiplyArguments {
  ProductArguments products[most_products];
  const float* x;
  uint32_t columns, tokens, x_stride;
  uint32_t rows;   // of all products, or of one when gated
  uint32_t gated;  // 0, or 1 + the activation's number
};

// Activations in half precision: a token's are halves times its scale. Rows of halves are whole tiles.
struct HalveArguments {
  const float* x;
  uint16_t* halves;
  float* scales;
  uint32_t columns, x_stride, half_stride;
};

// Activations as two brain floats each, for cuBLASLt; rows of them are `stride` apart.
struct SplitArguments {
  const float* x;
  uint16_t* high;
  uint16_t* low;
  uint32_t columns, stride;
};

// What cuBLASLt leaves to be done: out = out * scale + bias, or activation(out * scale) * (up * scale).
struct FinishArguments {
  float* out;
  const float* up;      // nullptr: not gated
  const float* scales;  // of tokens; nullptr: 1
  const float* bias;    // of rows; nullptr: none
  uint32_t rows, out_stride, activation;
};

struct TilesArguments {
  MultiplyArguments multiply;  // x is not read
  const uint16_t* halves;
  const float* scales;
  uint32_t half_stride;
};

// ---- Rows of activations ----

struct NormArguments {
  const float* x;
  const float* weight;
  float* out;
  float epsilon;
  uint32_t columns;
};

struct RotateArguments {
  float* x;
  const float* angles;  // cosine and sine, a row for each row of x
  uint32_t heads, head_size, pairs, interleaved;
};

struct GateArguments {
  float* x;
  const float* up;
  uint64_t count;
  uint32_t activation;
};

struct AddArguments {
  float* x;
  const float* delta;
  uint64_t count;
};

struct SoftCapArguments {
  float* x;
  uint64_t count;
  float cap;
};

struct GatherArguments {
  const float* x;
  const uint32_t* rows;
  float* out;
  uint32_t columns;
};

// ---- The best logits ----

inline constexpr uint64_t unsound_key = UINT64_MAX, impossible_key = 0;  // NaN or +infinity; -infinity, or no token

// Either logits or keys are read, `columns` of them a row, and the best `count` of each part of a row written.
struct BestArguments {
  const float* logits;
  const uint64_t* keys;
  uint64_t* out;
  uint32_t columns, count;
};

// The weight of the logits of each part that are not among the best, beside the best one; and these best once more, so
// that both come back in one copy.
struct RestArguments {
  const float* logits;
  const uint64_t* best;  // `count` of each row
  uint64_t* again;
  double* sums;
  uint32_t columns, count;
};

// ---- Attention ----

// Where a row of a batch stands in its sequence, and where the sequence's pages are listed.
struct RowPlace {
  uint32_t position, first_page;
};

struct CachePlace {
  const RowPlace* rows;
  unsigned char* const* pages;
  uint64_t layer_offset, head_bytes;  // in a page; a head's keys are followed by its values
};

struct StoreArguments {
  CachePlace cache;
  const float* key;
  const float* value;
  uint32_t heads, head_size, head_stride;  // stride: components a head takes in the cache
};

struct AttendArguments {
  CachePlace cache;
  const float* query;
  float* out;
  uint32_t heads, group;  // of the query; `group` of them share a head of the cache
  uint32_t head_size, head_stride;
  uint32_t lanes;   // that share a position: a power of two
  uint32_t window;  // positions seen, the last included; UINT32_MAX: all
  float scale, soft_cap;
};

// Some queries of a sequence: its rows in the batch, each with the heads that share one of the cache; of all these
// queries, token by token, those from `first` on.
struct QueryTile {
  uint32_t row, rows, first;
};

struct FlashArguments {
  AttendArguments attend;  // its `lanes` are not read
  const QueryTile* tiles;
};

}  // namespace llmos::cuda
