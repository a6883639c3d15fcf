// SPDX-License-Identifier: MIT
#include "cuda/packed.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace llmos::cuda {
namespace {

using core::TensorType;
using core::TensorView;

constexpr size_t plane_alignment = 256;
constexpr size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

// A run of bytes of every block.
struct Field {
  size_t offset, bytes;
};

// The fields of a block in the order of the planes; those of floats are whole rows, padded to 16 bytes.
std::span<const Field> fields_of(TensorType type) {
  static constexpr Field q4_0[] = {{2, 16}, {0, 2}};
  static constexpr Field q5_0[] = {{6, 16}, {2, 4}, {0, 2}};
  static constexpr Field q8_0[] = {{2, 32}, {0, 2}};
  static constexpr Field q4_k[] = {{16, 128}, {0, 16}};
  static constexpr Field q5_k[] = {{48, 128}, {16, 32}, {0, 16}};
  static constexpr Field q6_k[] = {{0, 128}, {128, 64}, {192, 16}, {208, 2}};
  switch (type) {
    case TensorType::q4_0:
      return q4_0;
    case TensorType::q5_0:
      return q5_0;
    case TensorType::q8_0:
      return q8_0;
    case TensorType::q4_k:
      return q4_k;
    case TensorType::q5_k:
      return q5_k;
    case TensorType::q6_k:
      return q6_k;
    case TensorType::f32:
    case TensorType::f16:
    case TensorType::bf16:
      break;
  }
  return {};
}

// `count` elements of `bytes` each, `step` apart in the file, that lie without gaps (but for padding) in a plane.
struct Plane {
  const std::byte* first;
  size_t count, step, bytes, padded;
  size_t size() const { return round_up(count * padded, plane_alignment); }
};

std::vector<Plane> planes(const TensorView& weight) {
  std::vector<Plane> all;
  const size_t row = weight.row_bytes();
  if (fields_of(weight.type).empty()) {
    all.push_back({weight.data, weight.rows(), row, row, round_up(row, 16)});
  } else {
    const size_t block = tensor_type_info(weight.type).block_bytes;
    for (const Field& field : fields_of(weight.type))
      all.push_back({weight.data + field.offset, weight.bytes() / block, block, field.bytes, field.bytes});
  }
  return all;
}

// Bytes [from, from + out.size()) of a plane; zeros where it has none.
void copy(const Plane& plane, size_t from, std::span<std::byte> out) {
  size_t index = from / plane.padded, within = from % plane.padded;
  while (!out.empty()) {
    const size_t count = std::min(out.size(), plane.padded - within);
    const size_t there = index < plane.count && within < plane.bytes ? std::min(count, plane.bytes - within) : 0;
    if (there > 0) std::memcpy(out.data(), plane.first + index * plane.step + within, there);
    std::memset(out.data() + there, 0, count - there);
    out = out.subspan(count);
    index++;
    within = 0;
  }
}

}  // namespace

size_t packed_bytes(const TensorView& weight) {
  size_t bytes = 0;
  for (const Plane& plane : planes(weight)) bytes += plane.size();
  return bytes;
}

bool lies_packed(const TensorView& weight) {
  return fields_of(weight.type).empty() && weight.row_bytes() % 16 == 0 &&
         reinterpret_cast<uintptr_t>(weight.data) % 16 == 0;
}

PackedWeight planes_of(const TensorView& weight, const std::byte* base) {
  PackedWeight packed{};
  size_t offset = 0, index = 0;
  for (const Plane& plane : planes(weight)) {
    packed.planes[index++] = reinterpret_cast<const unsigned char*>(base + offset);
    offset += plane.size();
  }
  packed.row_bytes = round_up(weight.row_bytes(), 16);
  return packed;
}

void pack(const TensorView& weight, const std::function<std::span<std::byte>(size_t want)>& room) {
  for (const Plane& plane : planes(weight))
    for (size_t done = 0; done < plane.size();) {
      const std::span<std::byte> out = room(plane.size() - done);
      copy(plane, done, out);
      done += out.size();
    }
}

}  // namespace llmos::cuda
