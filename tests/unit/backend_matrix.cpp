// SPDX-License-Identifier: MIT
// Every set's matrix kernels against sums in double precision, over shapes that fit no vector.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "backend/cpu/dequantize.hpp"
#include "backend/cpu/kernels.hpp"
#include "support/random_weights.hpp"

namespace llmos::core {
namespace {

// To the nearest brain float, ties to even.
float round_to_bfloat(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bfloat_to_float(static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16));
}

// Activations with everything a kernel may ask for, and the values that kernels really see in each form.
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
    pack(kernels);
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
  double seen(Form form, size_t t, size_t column) const {
    const size_t at = t * rows_.columns + column;
    if (form == Form::quants) return seen_[at];
    return form == Form::tiles ? round_to_bfloat(values_[at]) : values_[at];
  }

 private:
  static size_t stride(size_t columns) { return columns + 256 + quant_padding; }

  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  void pack(const Kernels& kernels) {
    if (!kernels.pack || rows_.rows == 0) return;
    const size_t groups = tile_groups(rows_.rows), elements = 2 * groups * tile_group_elements(rows_.columns);
    tiles_.reset(static_cast<uint16_t*>(std::aligned_alloc(64, elements * sizeof(uint16_t))));
    std::fill_n(tiles_.get(), elements, 0x7fff);  // not a number: what is not packed would be seen
    rows_.tiles = tiles_.get();
    for (size_t group = 0; group < groups; group++) kernels.pack(rows_, group, true);
  }

  std::vector<float> values_;
  std::vector<int8_t> quants_, split_;
  std::vector<float> scales_, scaled_sums_;
  std::vector<int32_t> sums_;
  std::vector<double> seen_;
  std::unique_ptr<uint16_t, Free> tiles_;
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
  for (const size_t tokens : {16, 17, 32, 33, 50, 81}) all.push_back({70, columns.back(), tokens});
  all.push_back({260, 2048 + columns.back(), 5});  // more than one block of rows, of columns, and group of tokens
  all.push_back({33, 2048 + columns.back(), 40});
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

// The product may differ from the exact one of the values that the form gives by a few roundings of the sums it is made
// of. Tiles round quantised weights to brain floats; fine tiles keep 16 bits.
void expect_product(MatrixKernel kernel, Form form, const Weight& weight, const Activations& x, Shape shape,
                    size_t first, size_t last, const std::string& what) {
  const double bound = form == Form::fine_tiles ? 0x1p-15 : 4e-6;
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
        const float exact_weight = weight.floats[r * shape.columns + i];
        const double product =
            double{form == Form::tiles ? round_to_bfloat(exact_weight) : exact_weight} * x.seen(form, t, i);
        exact += product;
        size += std::fabs(product);
      }
      ASSERT_NEAR(found, exact, bound * size + 1e-30) << what << " row " << r << " token " << t;
    }
}

std::vector<std::pair<MatrixKernel, Form>> forms_of(const Kernels& kernels, TensorType type) {
  return {{kernels.matvec, plain_form(type)}, {kernels.matmul, kernels.matmul_form(type)}};
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
      for (const auto& [kernel, form] : forms_of(*kernels, GetParam().type)) {
        expect_product(kernel, form, weight, x, shape, 0, shape.rows, what);
        if (shape.rows > 4) expect_product(kernel, form, weight, x, shape, 3, shape.rows - 1, what + ", a part");
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
    for (const auto& [kernel, form] : forms_of(*kernels, TensorType::q8_0))
      expect_product(kernel, form, weight, x, shape, 0, shape.rows, describe(*kernels, TensorType::q8_0, shape));
  }
}

// The stated accuracy: products of many rows with quantised weights, against the activations as they are.
TEST(MatrixKernels, TilesLoseLessThanBytes) {
  for (const TensorTypeInfo& type : tensor_types) {
    std::mt19937_64 random(5);
    const Shape shape{64, 1024, 40};
    const Weight weight(type.type, shape, random);
    for (const Kernels* kernels : usable_kernels()) {
      const Activations x(*kernels, shape.tokens, shape.columns, type.block_elements > 1, random);
      std::vector<float> y(shape.tokens * shape.rows);
      std::vector<std::byte> scratch(matmul_scratch);
      kernels->matmul(weight.view, x.rows(), 0, shape.rows, y.data(), shape.rows, scratch.data());
      double error = 0, size = 0;
      for (size_t t = 0; t < shape.tokens; t++)
        for (size_t r = 0; r < shape.rows; r++) {
          double exact = 0;
          for (size_t i = 0; i < shape.columns; i++)
            exact += double{weight.floats[r * shape.columns + i]} * x.values()[t * shape.columns + i];
          error += (y[t * shape.rows + r] - exact) * (y[t * shape.rows + r] - exact);
          size += exact * exact;
        }
      const Form form = kernels->matmul_form(type.type);
      const double bound = form == Form::quants ? 0.01 : form == Form::tiles ? 0.003 : 2e-5;
      EXPECT_LT(std::sqrt(error / size), bound) << describe(*kernels, type.type, shape);
      RecordProperty(std::string(kernels->name) + "_" + std::string(type.name),
                     std::to_string(std::sqrt(error / size)));
    }
  }
}

// Linux refuses tiles to a process with a signal stack that could not hold them; the engine must do without then.
void choose_with_a_small_signal_stack() {
  static char memory[8192];  // as large as the tiles alone
  const stack_t small{memory, 0, sizeof memory};
  if (sigaltstack(&small, nullptr) != 0) std::_Exit(77);
  std::_Exit(usable_kernels().front()->name != "amx" && &select_kernels("") == usable_kernels().front() ? 0 : 1);
}

TEST(KernelSets, AmxIsLeftOutWhereItsPermissionIsRefused) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // in a new process: this one may have its permission already
  EXPECT_EXIT(choose_with_a_small_signal_stack(), testing::ExitedWithCode(0), "");
  if (usable_kernels().front()->name != "amx") GTEST_SKIP() << "this CPU has no AMX";
}

TEST(KernelSets, AreChosenByNameAndUnknownOnesRefused) {
  for (const Kernels* kernels : usable_kernels()) EXPECT_EQ(&select_kernels(kernels->name), kernels);
  EXPECT_EQ(usable_kernels().back()->name, "portable");
  EXPECT_ANY_THROW(select_kernels("sse9"));
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
