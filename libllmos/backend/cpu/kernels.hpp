// SPDX-License-Identifier: MIT
// What a CPU backend asks of an instruction set. Each set (portable, avx2, avx512, amx) is one translation unit with
// its own compiler flags that fills one table of these functions; the table is chosen by cpuid at run time, so one
// binary runs everywhere. A kernel works for one thread on the part it is given, allocates nothing and throws nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "backend/types.hpp"
#include "format/tensor.hpp"

namespace llmos::core {

inline constexpr size_t quant_block = 32;  // activations share a scale by 32

// A row of activations, as floats and, for quantised weights, as bytes: value = scale * quant.
struct ActivationRow {
  float* values;
  int8_t* quants;      // in [-127, 127]
  int8_t* split;       // the same bytes in the order in which the set's 4-bit kernels meet them
  float* scales;       // one for each 32 quants
  float* scaled_sums;  // scale * sum of each 32 quants
  int32_t* sums;       // of each 16 quants
};

// A set with matrix tiles takes many rows of activations as brain floats, in groups of tokens and steps of columns.
inline constexpr size_t tile_tokens = 32, tile_columns = 32;
constexpr size_t tile_groups(size_t rows) { return (rows + tile_tokens - 1) / tile_tokens; }
constexpr size_t tile_group_elements(size_t columns) {
  return (columns + tile_columns - 1) / tile_columns * tile_columns * tile_tokens;
}

// Rows one below the other; strides count elements. What a type's kernel needs is told by Kernels::matmul_form.
struct ActivationRows {
  ActivationRow first{};
  size_t rows = 0, columns = 0;
  size_t value_stride = 0, quant_stride = 0, scale_stride = 0;
  uint16_t* tiles = nullptr;  // aligned to 64 bytes: all groups rounded to brain floats, then all groups' remainders

  ActivationRow row(size_t t) const {
    return {first.values + t * value_stride, first.quants + t * quant_stride,      first.split + t * quant_stride,
            first.scales + t * scale_stride, first.scaled_sums + t * scale_stride, first.sums + t * scale_stride * 2};
  }
  uint16_t* tile_group(size_t group, size_t plane) const {
    return tiles + (plane * tile_groups(rows) + group) * tile_group_elements(columns);
  }
};

// Bytes that a matrix kernel may read beyond the last quant of a row, and the scratch memory it needs.
inline constexpr size_t quant_padding = 64;
inline constexpr size_t matmul_scratch = 2 << 20;

// Writes y[t * y_stride + r] = dot(w row r, x row t) for r in [first, last) and every row t of x. Row r of y is at y +
// r.
using MatrixKernel = void (*)(const TensorView& w, const ActivationRows& x, size_t first, size_t last, float* y,
                              size_t y_stride, std::byte* scratch);

// The cache of one layer and one key-value head, in pages of `page_positions`. Keys lie transposed, so that a vector
// register holds one component of many positions; values lie one position after another.
inline constexpr size_t page_positions = 64;

// Bytes of the keys (or of the values) of one head in one page. Q8_0 keeps page_positions * head_size bytes and then
// one half-precision scale for each position and each 32 components.
constexpr size_t head_page_bytes(CacheType type, size_t head_size) {
  return type == CacheType::f16 ? page_positions * head_size * 2
                                : page_positions * head_size + page_positions * (head_size / quant_block) * 2;
}

// Query rows of one sequence that share a key-value head: `tokens` consecutive positions times `heads`.
struct AttentionTask {
  const float* query;  // token t, head h at query + t * query_stride + h * head_size
  float* out;          // likewise
  size_t query_stride, out_stride;
  size_t tokens, heads, head_size;
  size_t position;        // of the first token; it sees the positions up to and including itself
  size_t window;          // and of those only the last `window`; SIZE_MAX means all
  float scale, soft_cap;  // scores are scaled, then capped by tanh unless soft_cap is 0
  CacheType type;
  std::byte* const* pages;          // page i holds the positions from i * page_positions
  size_t key_offset, value_offset;  // of this head inside a page
};

inline constexpr size_t attention_rows = 64;  // a task has at most so many query rows (tokens * heads)
constexpr size_t attention_scratch(size_t head_size) {
  return attention_rows * (head_size + page_positions + 16) * sizeof(float);
}

// What a kernel wants of the activations: their values alone, quants with their scales, tiles, or tiles with
// remainders.
enum class Form { values, quants, tiles, fine_tiles };
constexpr Form plain_form(TensorType type) {
  return tensor_type_info(type).block_elements > 1 ? Form::quants : Form::values;
}

struct Kernels {
  std::string_view name;

  void (*quantize)(const ActivationRow& row, size_t columns);  // fills all from the values
  MatrixKernel matvec;              // for a few rows of x: walks the weights once, straight from their plain layout
  MatrixKernel matmul;              // for many: unpacks panels of weights into scratch and multiplies tiles
  Form (*matmul_form)(TensorType);  // matvec always takes plain_form
  void (*pack)(const ActivationRows& x, size_t group, bool remainder);  // fills a group of tiles; none if never asked

  void (*norm)(const float* x, const float* weight, size_t columns, float epsilon, float* out);    // out may be x
  void (*gate)(const float* x, const float* up, size_t count, Activation activation, float* out);  // activation(x) * up
  void (*soft_cap)(float* x, size_t count, float cap);  // cap * tanh(x / cap)

  // Stores one position's key or value of one head in its page.
  void (*store_key)(const float* key, size_t head_size, CacheType type, size_t slot, std::byte* page);
  void (*store_value)(const float* value, size_t head_size, CacheType type, size_t slot, std::byte* page);
  void (*attend)(const AttentionTask& task, std::byte* scratch);
};

// The sets this binary was built with that this CPU can run, best first; the portable one is always the last.
std::span<const Kernels* const> usable_kernels();

// The best usable set, or the named one ("portable", "avx2", "avx512", "amx"); ENOTSUP when this CPU cannot run it.
const Kernels& select_kernels(std::string_view name);

}  // namespace llmos::core
