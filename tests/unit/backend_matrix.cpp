// SPDX-License-Identifier: MIT
// Every set's matrix kernels against sums in double precision, over shapes that fit no vector.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "backend/cpu/dequantize.hpp"
#include "backend/cpu/kernels.hpp"
#include "support/random_weights.hpp"

namespace llmos::core {
namespace {

// Activations with everything a kernel may ask for, and the values that the quantised kernels really see.
class Activations {
 public:
  Activations(const Kernels& kernels, size_t rows, size_t columns, bool quantized, std::mt19937_64& random)
      : values_(rows * columns),
        quants_(rows * stride(columns)),
        split_(quants_.size()),
        scales_(rows * (columns / 32 + 8)),
        scaled_sums_(scales_.size()),
        sums_(2 * scales_.size()) {
    std::normal_distribution<float> normal(0.1f, 1);
    for (float& value : values_) value = normal(random);
    rows_.first = {values_.data(), quants_.data(), split_.data(), scales_.data(), scaled_sums_.data(), sums_.data()};
    rows_.rows = rows;
    rows_.columns = rows_.value_stride = columns;
    rows_.quant_stride = stride(columns);
    rows_.scale_stride = columns / 32 + 8;
    seen_.assign(values_.begin(), values_.end());
    if (!quantized) return;
    for (size_t t = 0; t < rows; t++) {
      const ActivationRow row = rows_.row(t);
      kernels.quantize(row, columns);
      for (size_t i = 0; i < columns; i++) seen_[t * columns + i] = double{row.scales[i / 32]} * row.quants[i];
    }
  }

  const ActivationRows& rows() const { return rows_; }
  const std::vector<float>& values() const { return values_; }
  const double* seen(size_t t) const { return seen_.data() + t * rows_.columns; }

 private:
  static size_t stride(size_t columns) { return columns + 256 + quant_padding; }

  std::vector<float> values_;
  std::vector<int8_t> quants_, split_;
  std::vector<float> scales_, scaled_sums_;
  std::vector<int32_t> sums_;
  std::vector<double> seen_;
  ActivationRows rows_;
};

struct Shape {
  size_t rows, columns, tokens;
};

std::vector<Shape> shapes(TensorType type) {
  const size_t block = tensor_type_info(type).block_elements;
  std::vector<size_t> columns{1, 3, 7, 8, 15, 17, 33, 64, 172, 257};
  if (block == 32) columns = {32, 64, 160, 224, 256, 288, 640, 1056};
  if (block == 256) columns = {256, 512, 1280};
  std::vector<Shape> all;
  for (const size_t width : columns)
    for (const size_t rows : {1, 2, 3, 5, 16, 31, 33, 70})
      for (const size_t tokens : {1, 2, 3, 4, 7, 13}) all.push_back({rows, width, tokens});
  return all;
}

struct Weight {
  Weight(TensorType type, Shape shape, std::mt19937_64& random)
      : bytes(tensor_bytes(type, shape.columns * shape.rows)), floats(shape.columns * shape.rows) {
    test::fill_random(type, bytes, random);
    view.type = type;
    view.shape = {shape.columns, shape.rows, 1, 1};
    view.data = bytes.data();
    refresh();
  }
  void refresh() { dequantize(view.type, bytes.data(), floats.size(), floats.data()); }

  std::vector<std::byte> bytes;  // exactly the weight: a sanitizer sees a read beyond it
  std::vector<float> floats;
  TensorView view;
};

// The product may differ from the exact one by a few roundings of the sums it is made of.
void expect_product(MatrixKernel kernel, const Weight& weight, const Activations& x, Shape shape, size_t first,
                    size_t last, const std::string& what) {
  constexpr float untouched = 12345;
  const size_t stride = shape.rows + 3;
  std::vector<float> y(shape.tokens * stride, untouched);
  std::vector<std::byte> scratch(matmul_scratch);
  kernel(weight.view, x.rows(), first, last, y.data(), stride, scratch.data());
  for (size_t t = 0; t < shape.tokens; t++)
    for (size_t r = 0; r < stride; r++) {
      const float found = y[t * stride + r];
      if (r < first || r >= last) {
        ASSERT_EQ(found, untouched) << what << " wrote row " << r << " of token " << t;
        continue;
      }
      double exact = 0, size = 0;
      for (size_t i = 0; i < shape.columns; i++) {
        const double product = double{weight.floats[r * shape.columns + i]} * x.seen(t)[i];
        exact += product;
        size += std::fabs(product);
      }
      ASSERT_NEAR(found, exact, 4e-6 * size + 1e-30) << what << " row " << r << " token " << t;
    }
}

std::string describe(const Kernels& kernels, TensorType type, Shape shape) {
  return std::string(kernels.name) + " " + std::string(tensor_type_info(type).name) + " " + std::to_string(shape.rows) +
         "x" + std::to_string(shape.columns) + " tokens " + std::to_string(shape.tokens);
}

class MatrixKernels : public testing::TestWithParam<TensorTypeInfo> {};

TEST_P(MatrixKernels, AgreeWithDoublePrecisionOnAwkwardShapes) {
  std::mt19937_64 random(1);
  for (const Shape shape : shapes(GetParam().type)) {
    const Weight weight(GetParam().type, shape, random);
    for (const Kernels* kernels : usable_kernels()) {
      const Activations x(*kernels, shape.rows ? shape.tokens : 0, shape.columns, GetParam().block_elements > 1,
                          random);
      const std::string what = describe(*kernels, GetParam().type, shape);
      for (const MatrixKernel kernel : {kernels->matvec, kernels->matmul}) {
        expect_product(kernel, weight, x, shape, 0, shape.rows, what);
        if (shape.rows > 4) expect_product(kernel, weight, x, shape, 3, shape.rows - 1, what + ", a part");
      }
    }
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(AllTypes, MatrixKernels, testing::ValuesIn(tensor_types),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(MatrixKernels, TakeTheLowestByteAWeightCanHold) {
  std::mt19937_64 random(2);
  const Shape shape{5, 288, 5};
  Weight weight(TensorType::q8_0, shape, random);
  test::detail::each_block<BlockQ8_0>(weight.bytes, [](BlockQ8_0& block) {
    for (int8_t& value : block.values) value = -128;
  });
  weight.refresh();
  for (const Kernels* kernels : usable_kernels()) {
    const Activations x(*kernels, shape.tokens, shape.columns, true, random);
    expect_product(kernels->matvec, weight, x, shape, 0, shape.rows, describe(*kernels, TensorType::q8_0, shape));
    expect_product(kernels->matmul, weight, x, shape, 0, shape.rows, describe(*kernels, TensorType::q8_0, shape));
  }
}

TEST(Quantize, IsWithinHalfAStepAndNeverTheLowestByte) {
  std::mt19937_64 random(3);
  for (const Kernels* kernels : usable_kernels()) {
    const Activations x(*kernels, 3, 320, true, random);
    for (size_t t = 0; t < 3; t++) {
      const ActivationRow row = x.rows().row(t);
      for (size_t i = 0; i < 320; i++) {
        EXPECT_NEAR(x.seen(t)[i], x.values()[t * 320 + i], row.scales[i / 32] * 0.5001f) << kernels->name;
        EXPECT_NE(row.quants[i], -128);
      }
      for (size_t part = 0; part < 20; part++) {
        int sum = 0;
        for (size_t i = 0; i < 16; i++) sum += row.quants[part * 16 + i];
        EXPECT_EQ(row.sums[part], sum);
      }
    }
  }
}

TEST(Quantize, OfZerosIsZero) {
  for (const Kernels* kernels : usable_kernels()) {
    std::mt19937_64 random(4);
    Activations x(*kernels, 1, 64, false, random);
    const ActivationRow row = x.rows().row(0);
    std::fill_n(row.values, 64, 0.0f);
    kernels->quantize(row, 64);
    EXPECT_EQ(row.scales[0], 0);
    for (size_t i = 0; i < 64; i++) EXPECT_EQ(row.quants[i], 0);
  }
}

}  // namespace
}  // namespace llmos::core
