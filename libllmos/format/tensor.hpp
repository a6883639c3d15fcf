// SPDX-License-Identifier: MIT
// What a tensor is, wherever its bytes lie: an element type, a shape, and a view of bytes that somebody else owns.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace llmos::core {

// The element types llmos computes with. The values are ggml's type numbers, as they stand in GGUF files.
enum class TensorType : uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q5_0 = 6,
  q8_0 = 8,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  bf16 = 30,
};

// Elements are stored in blocks: one element of a float type, 32 or 256 of a quantised one with their scales.
struct TensorTypeInfo {
  TensorType type;
  std::string_view name;  // as llama.cpp writes it, "Q4_K"
  uint32_t block_elements;
  uint32_t block_bytes;
};

inline constexpr std::array<TensorTypeInfo, 9> tensor_types{{
    {TensorType::f32, "F32", 1, 4},
    {TensorType::f16, "F16", 1, 2},
    {TensorType::q4_0, "Q4_0", 32, 18},
    {TensorType::q5_0, "Q5_0", 32, 22},
    {TensorType::q8_0, "Q8_0", 32, 34},
    {TensorType::q4_k, "Q4_K", 256, 144},
    {TensorType::q5_k, "Q5_K", 256, 176},
    {TensorType::q6_k, "Q6_K", 256, 210},
    {TensorType::bf16, "BF16", 1, 2},
}};

// The type of a ggml type number; nothing when llmos does not know it.
constexpr std::optional<TensorType> tensor_type_from_number(uint32_t number) {
  for (const TensorTypeInfo& info : tensor_types)
    if (static_cast<uint32_t>(info.type) == number) return info.type;
  return std::nullopt;
}

constexpr const TensorTypeInfo& tensor_type_info(TensorType type) {
  for (const TensorTypeInfo& info : tensor_types)
    if (info.type == type) return info;
  return tensor_types[0];  // not reached: every enumerator is in the table
}

// Bytes of `elements` consecutive elements; `elements` must be a multiple of the type's block.
constexpr size_t tensor_bytes(TensorType type, size_t elements) {
  const TensorTypeInfo& info = tensor_type_info(type);
  return elements / info.block_elements * info.block_bytes;
}

// A tensor in somebody else's memory: it stays valid as long as that memory does. Rows are contiguous, one after
// another.
struct TensorView {
  std::string_view name;  // owned with the bytes
  TensorType type = TensorType::f32;
  std::array<uint64_t, 4> shape{1, 1, 1, 1};  // shape[0] is the length of a row, as in GGUF; unused dimensions are 1
  const std::byte* data = nullptr;

  constexpr size_t columns() const { return shape[0]; }
  constexpr size_t rows() const { return shape[1] * shape[2] * shape[3]; }
  constexpr size_t row_bytes() const { return tensor_bytes(type, columns()); }
  constexpr size_t bytes() const { return row_bytes() * rows(); }
  constexpr const std::byte* row(size_t index) const { return data + index * row_bytes(); }
};

}  // namespace llmos::core
