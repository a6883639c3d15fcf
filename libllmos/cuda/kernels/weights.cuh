// SPDX-License-Identifier: MIT
// How a lane reads its share of a weight's row: one 16-byte piece of the plane of numbers, with what belongs to it of
// the other planes. A unit's weight i is numbers[i] * scale[side] + offset[side]; its numbers are two sides of
// columns / 2 neighbouring columns each, which begin at first() and second().
#pragma once

#include "cuda/kernels/device.cuh"

namespace llmos::cuda {

// A small whole number as a float, by its place in the mantissa: cheaper than a conversion.
DEVICE float whole(uint32_t number, float less) { return bits_to_float(0x4b000000u | number) - (8388608.0f + less); }

DEVICE uint32_t word_of(const uint4& v, unsigned index) {
  return index == 0 ? v.x : index == 1 ? v.y : index == 2 ? v.z : v.w;
}
DEVICE uint32_t byte_of(const uint4& v, unsigned index) { return word_of(v, index / 4) >> 8 * (index % 4) & 255; }

// The low and high halves of 16 bytes.
DEVICE void nibbles(const uint4& bytes, float less, float* numbers) {
  UNROLL
  for (unsigned i = 0; i < 16; i++) {
    const uint32_t word = word_of(bytes, i / 4) >> 8 * (i % 4);
    numbers[i] = whole(word & 15, less);
    numbers[i + 16] = whole(word >> 4 & 15, less);
  }
}

template <unsigned kColumns>
struct Numbers {
  float numbers[kColumns];
  float scale[2], offset[2];
};

struct UnitF32 {
  static constexpr unsigned columns = 4;
  static constexpr bool has_offset = false;
  uint4 bytes;

  DEVICE static UnitF32 load(const PackedWeight& w, size_t row, unsigned, unsigned unit) {
    return {load16(w.planes[0] + row * w.row_bytes + unit * 16)};
  }
  DEVICE static unsigned first(unsigned unit) { return unit * 4; }
  DEVICE static unsigned second(unsigned unit) { return unit * 4 + 2; }
  DEVICE void decode(unsigned, Numbers<columns>& out) const {
    UNROLL
    for (unsigned i = 0; i < 4; i++) out.numbers[i] = bits_to_float(word_of(bytes, i));
    out.scale[0] = out.scale[1] = 1;
  }
};

struct UnitHalves {
  static constexpr unsigned columns = 8;
  static constexpr bool has_offset = false;
  uint4 bytes;

  DEVICE static uint4 load_bytes(const PackedWeight& w, size_t row, unsigned unit) {
    return load16(w.planes[0] + row * w.row_bytes + unit * 16);
  }
  DEVICE static unsigned first(unsigned unit) { return unit * 8; }
  DEVICE static unsigned second(unsigned unit) { return unit * 8 + 4; }
};

struct UnitF16 : UnitHalves {
  DEVICE static UnitF16 load(const PackedWeight& w, size_t row, unsigned, unsigned unit) {
    return {{load_bytes(w, row, unit)}};
  }
  DEVICE void decode(unsigned, Numbers<columns>& out) const {
    UNROLL
    for (unsigned i = 0; i < 8; i++)
      out.numbers[i] = half_to_float(static_cast<uint16_t>(word_of(bytes, i / 2) >> 16 * (i % 2)));
    out.scale[0] = out.scale[1] = 1;
  }
};

struct UnitBF16 : UnitHalves {
  DEVICE static UnitBF16 load(const PackedWeight& w, size_t row, unsigned, unsigned unit) {
    return {{load_bytes(w, row, unit)}};
  }
  DEVICE void decode(unsigned, Numbers<columns>& out) const {
    UNROLL
    for (unsigned i = 0; i < 8; i++) {
      const uint32_t word = word_of(bytes, i / 2);
      out.numbers[i] = bits_to_float(i % 2 ? word & 0xffff0000u : word << 16);
    }
    out.scale[0] = out.scale[1] = 1;
  }
};

struct UnitQ8_0 {
  static constexpr unsigned columns = 16;
  static constexpr bool has_offset = false;
  uint4 bytes;
  uint16_t half;

  DEVICE static UnitQ8_0 load(const PackedWeight& w, size_t row, unsigned units, unsigned unit) {
    const size_t index = row * units + unit;
    return {load16(w.planes[0] + index * 16), load2(w.planes[1] + index / 2 * 2)};
  }
  DEVICE static unsigned first(unsigned unit) { return unit * 16; }
  DEVICE static unsigned second(unsigned unit) { return unit * 16 + 8; }
  DEVICE void decode(unsigned, Numbers<columns>& out) const {
    UNROLL
    for (unsigned i = 0; i < 16; i++) out.numbers[i] = whole(byte_of(bytes, i) ^ 128, 128);
    out.scale[0] = out.scale[1] = half_to_float(half);
  }
};

struct UnitQ4_0 {
  static constexpr unsigned columns = 32;
  static constexpr bool has_offset = false;
  uint4 bytes;
  uint16_t half;

  DEVICE static UnitQ4_0 load(const PackedWeight& w, size_t row, unsigned units, unsigned unit) {
    const size_t index = row * units + unit;
    return {load16(w.planes[0] + index * 16), load2(w.planes[1] + index * 2)};
  }
  DEVICE static unsigned first(unsigned unit) { return unit * 32; }
  DEVICE static unsigned second(unsigned unit) { return unit * 32 + 16; }
  DEVICE void decode(unsigned, Numbers<columns>& out) const {
    nibbles(bytes, 8, out.numbers);
    out.scale[0] = out.scale[1] = half_to_float(half);
  }
};

struct UnitQ5_0 {
  static constexpr unsigned columns = 32;
  static constexpr bool has_offset = false;
  uint4 bytes;
  uint32_t high;
  uint16_t half;

  DEVICE static UnitQ5_0 load(const PackedWeight& w, size_t row, unsigned units, unsigned unit) {
    const size_t index = row * units + unit;
    return {load16(w.planes[0] + index * 16), load4(w.planes[1] + index * 4), load2(w.planes[2] + index * 2)};
  }
  DEVICE static unsigned first(unsigned unit) { return unit * 32; }
  DEVICE static unsigned second(unsigned unit) { return unit * 32 + 16; }
  DEVICE void decode(unsigned, Numbers<columns>& out) const {
    UNROLL
    for (unsigned i = 0; i < 16; i++) {
      const uint32_t byte = byte_of(bytes, i);
      out.numbers[i] = whole((byte & 15) | (high >> i & 1) << 4, 16);
      out.numbers[i + 16] = whole(byte >> 4 | (high >> (i + 16) & 1) << 4, 16);
    }
    out.scale[0] = out.scale[1] = half_to_float(half);
  }
};

// The 16 bytes before the numbers of a Q4_K or Q5_K block: two halves, then 8 scales and 8 minimums of 6 bits.
DEVICE void scale_part(const uint4& head, unsigned part, float& scale, float& offset) {
  const auto packed = [&](unsigned index) { return byte_of(head, index + 4); };
  const uint32_t s = part < 4 ? packed(part) & 63 : (packed(part + 4) & 15) | packed(part - 4) >> 6 << 4;
  const uint32_t m = part < 4 ? packed(part + 4) & 63 : packed(part + 4) >> 4 | packed(part) >> 6 << 4;
  scale = half_to_float(static_cast<uint16_t>(head.x)) * static_cast<float>(s);
  offset = -half_to_float(static_cast<uint16_t>(head.x >> 16)) * static_cast<float>(m);
}

// Of the 256 columns of a block, unit u (of 8) holds 16 of part 2 * (u / 2) and 16 of the part after it.
struct UnitParts {
  static constexpr unsigned columns = 32;
  static constexpr bool has_offset = true;
  DEVICE static unsigned first(unsigned unit) { return unit / 8 * 256 + unit % 8 / 2 * 64 + unit % 2 * 16; }
  DEVICE static unsigned second(unsigned unit) { return first(unit) + 32; }
};

struct UnitQ4_K : UnitParts {
  uint4 bytes, head;

  DEVICE static UnitQ4_K load(const PackedWeight& w, size_t row, unsigned units, unsigned unit) {
    const size_t index = row * units + unit;
    return {{}, load16(w.planes[0] + index * 16), cached16(w.planes[1] + index / 8 * 16)};
  }
  DEVICE void decode(unsigned unit, Numbers<columns>& out) const {
    nibbles(bytes, 0, out.numbers);
    UNROLL
    for (unsigned side = 0; side < 2; side++)
      scale_part(head, unit % 8 / 2 * 2 + side, out.scale[side], out.offset[side]);
  }
};

struct UnitQ5_K : UnitParts {
  uint4 bytes, high, head;

  DEVICE static UnitQ5_K load(const PackedWeight& w, size_t row, unsigned units, unsigned unit) {
    const size_t index = row * units + unit;
    return {{},
            load16(w.planes[0] + index * 16),
            cached16(w.planes[1] + index / 8 * 32 + unit % 2 * 16),
            cached16(w.planes[2] + index / 8 * 16)};
  }
  DEVICE void decode(unsigned unit, Numbers<columns>& out) const {
    const unsigned part = unit % 8 / 2 * 2;
    UNROLL
    for (unsigned i = 0; i < 16; i++) {
      const uint32_t byte = byte_of(bytes, i), fifth = byte_of(high, i) >> part;
      out.numbers[i] = whole((byte & 15) | (fifth & 1) << 4, 0);
      out.numbers[i + 16] = whole(byte >> 4 | (fifth >> 1 & 1) << 4, 0);
    }
    UNROLL
    for (unsigned side = 0; side < 2; side++) scale_part(head, part + side, out.scale[side], out.offset[side]);
  }
};

// Of the 256 columns of a block, unit u (of 8) holds 16 of a quarter of the half u / 4, and 16 two quarters later.
struct UnitQ6_K {
  static constexpr unsigned columns = 32;
  static constexpr bool has_offset = false;
  uint4 bytes, high;
  int low_scale, high_scale;
  uint16_t half;

  DEVICE static UnitQ6_K load(const PackedWeight& w, size_t row, unsigned units, unsigned unit) {
    const size_t index = row * units + unit, block = index / 8;
    const unsigned half = unit % 8 / 4, scale = half * 8 + unit % 4;
    return {load16(w.planes[0] + index * 16), cached16(w.planes[1] + block * 64 + half * 32 + unit % 2 * 16),
            load_byte(w.planes[2] + block * 16 + scale), load_byte(w.planes[2] + block * 16 + scale + 4),
            load2(w.planes[3] + block * 2)};
  }
  DEVICE static unsigned first(unsigned unit) {
    return unit / 8 * 256 + unit % 8 / 4 * 128 + unit % 4 / 2 * 32 + unit % 2 * 16;
  }
  DEVICE static unsigned second(unsigned unit) { return first(unit) + 64; }
  DEVICE void decode(unsigned unit, Numbers<columns>& out) const {
    const unsigned shift = unit % 4 / 2 * 2;  // of the quarter's two bits
    UNROLL
    for (unsigned i = 0; i < 16; i++) {
      const uint32_t byte = byte_of(bytes, i), bits = byte_of(high, i) >> shift;
      out.numbers[i] = whole((byte & 15) | (bits & 3) << 4, 32);
      out.numbers[i + 16] = whole(byte >> 4 | (bits >> 4 & 3) << 4, 32);
    }
    const float scale = half_to_float(half);
    out.scale[0] = scale * static_cast<float>(low_scale);
    out.scale[1] = scale * static_cast<float>(high_scale);
  }
};

// Units of a row, the last perhaps not full: what is missing is zeros.
template <typename Unit>
DEVICE unsigned units_of(unsigned columns) {
  return (columns + Unit::columns - 1) / Unit::columns;
}

}  // namespace llmos::cuda
