// SPDX-License-Identifier: MIT
// Matrices on a device and read back, random weights of any type, and products with them in double precision.
#pragma once

#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "backend/backend.hpp"
#include "backend/cpu/dequantize.hpp"
#include "support/random_weights.hpp"

namespace llmos::test {

using Floats = std::vector<float>;

inline Floats normal(size_t count, std::mt19937_64& random, float size = 1) {
  std::normal_distribution<float> distribution(0, size);
  Floats values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

// A matrix on the device. What is not written reads as 12345.
class OnDevice {
 public:
  OnDevice(core::Backend& backend, size_t rows, size_t columns, const Floats& values = {})
      : backend_(backend), memory_(backend.allocate(rows * columns * sizeof(float))) {
    matrix = {reinterpret_cast<float*>(memory_.get()), rows, columns};
    const Floats filled = values.empty() ? Floats(rows * columns, 12345) : values;
    backend.upload(filled.data(), filled.size() * sizeof(float), memory_.get());
  }
  Floats read() const {
    Floats values(matrix.rows * matrix.columns);
    backend_.download(memory_.get(), values.size() * sizeof(float), values.data());
    return values;
  }
  core::Matrix matrix;

 private:
  core::Backend& backend_;
  core::Memory memory_;
};

struct Weight {
  Weight(core::TensorType type, size_t rows, size_t columns, std::mt19937_64& random)
      : bytes(core::tensor_bytes(type, rows * columns)), floats(rows * columns) {
    fill_random(type, bytes, random);
    view.type = type;
    view.shape = {columns, rows, 1, 1};
    view.data = bytes.data();
    core::dequantize(type, view.data, floats.size(), floats.data());
  }
  std::vector<std::byte> bytes;
  Floats floats;
  core::TensorView view;
};

// The product, and the size of what it is a sum of.
inline std::pair<double, double> exact(const Weight& weight, const Floats& x, size_t token, size_t row) {
  const size_t columns = weight.view.columns();
  double sum = 0, size = 0;
  for (size_t i = 0; i < columns; i++) {
    const double product = double{weight.floats[row * columns + i]} * x[token * columns + i];
    sum += product;
    size += std::fabs(product);
  }
  return {sum, size};
}

inline double activated(core::Activation activation, double v) {
  if (activation == core::Activation::silu) return v / (1 + std::exp(-v));
  return 0.5 * v * (1 + std::tanh(0.7978845608 * v * (1 + 0.044715 * v * v)));
}

}  // namespace llmos::test
