// SPDX-License-Identifier: MIT
#include "backend/cpu/dequantize.hpp"

#include "backend/cpu/blocks.hpp"

namespace llmos::core {
namespace {

// The block may lie at any address: it is copied out before it is looked at.
template <typename Block>
Block read(const std::byte* source) {
  Block block;
  std::memcpy(&block, source, sizeof block);
  return block;
}

void expand(const BlockQ4_0& block, float* out) {
  const float scale = half_to_float(block.scale);
  for (int i = 0; i < 16; i++) {
    out[i] = scale * static_cast<float>((block.nibbles[i] & 15) - 8);
    out[i + 16] = scale * static_cast<float>((block.nibbles[i] >> 4) - 8);
  }
}

void expand(const BlockQ5_0& block, float* out) {
  const float scale = half_to_float(block.scale);
  const auto fifth = [&](int i) { return (block.high[i / 8] >> i % 8 & 1) << 4; };
  for (int i = 0; i < 16; i++) {
    out[i] = scale * static_cast<float>(((block.nibbles[i] & 15) | fifth(i)) - 16);
    out[i + 16] = scale * static_cast<float>((block.nibbles[i] >> 4 | fifth(i + 16)) - 16);
  }
}

void expand(const BlockQ8_0& block, float* out) {
  const float scale = half_to_float(block.scale);
  for (int i = 0; i < 32; i++) out[i] = scale * static_cast<float>(block.values[i]);
}

void expand(const BlockQ4_K& block, float* out) {
  uint8_t scales[8], minimums[8];
  unpack_scales(block.packed, scales, minimums);
  for (int i = 0; i < 256; i++) {
    const int part = i / 32, shift = part % 2 * 4;
    const float scale = half_to_float(block.scale) * scales[part];
    const float minimum = half_to_float(block.minimum) * minimums[part];
    out[i] = scale * static_cast<float>(block.nibbles[part / 2 * 32 + i % 32] >> shift & 15) - minimum;
  }
}

void expand(const BlockQ5_K& block, float* out) {
  uint8_t scales[8], minimums[8];
  unpack_scales(block.packed, scales, minimums);
  for (int i = 0; i < 256; i++) {
    const int part = i / 32, shift = part % 2 * 4;
    const float scale = half_to_float(block.scale) * scales[part];
    const float minimum = half_to_float(block.minimum) * minimums[part];
    const int value = (block.nibbles[part / 2 * 32 + i % 32] >> shift & 15) | (block.high[i % 32] >> part & 1) << 4;
    out[i] = scale * static_cast<float>(value) - minimum;
  }
}

void expand(const BlockQ6_K& block, float* out) {
  for (int i = 0; i < 256; i++) {
    const int half = i / 128, quarter = i % 128 / 32, column = i % 32;  // four values share a byte of `high`
    const int low = block.nibbles[half * 64 + quarter % 2 * 32 + column] >> quarter / 2 * 4 & 15;
    const int high = block.high[half * 32 + column] >> quarter * 2 & 3;
    const float scale = half_to_float(block.scale) * static_cast<float>(block.scales[i / 16]);
    out[i] = scale * static_cast<float>((low | high << 4) - 32);
  }
}

template <typename Block, size_t kElements>
void expand_all(const std::byte* source, size_t elements, float* out) {
  for (size_t i = 0; i < elements; i += kElements, source += sizeof(Block), out += kElements)
    expand(read<Block>(source), out);
}

}  // namespace

void dequantize(TensorType type, const std::byte* source, size_t elements, float* out) {
  switch (type) {
    case TensorType::f32:
      std::memcpy(out, source, elements * 4);
      return;
    case TensorType::f16:
      for (size_t i = 0; i < elements; i++) out[i] = half_to_float(read<uint16_t>(source + 2 * i));
      return;
    case TensorType::bf16:
      for (size_t i = 0; i < elements; i++) out[i] = bfloat_to_float(read<uint16_t>(source + 2 * i));
      return;
    case TensorType::q4_0:
      return expand_all<BlockQ4_0, 32>(source, elements, out);
    case TensorType::q5_0:
      return expand_all<BlockQ5_0, 32>(source, elements, out);
    case TensorType::q8_0:
      return expand_all<BlockQ8_0, 32>(source, elements, out);
    case TensorType::q4_k:
      return expand_all<BlockQ4_K, 256>(source, elements, out);
    case TensorType::q5_k:
      return expand_all<BlockQ5_K, 256>(source, elements, out);
    case TensorType::q6_k:
      return expand_all<BlockQ6_K, 256>(source, elements, out);
  }
}

}  // namespace llmos::core
