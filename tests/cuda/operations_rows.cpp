// SPDX-License-Identifier: MIT
// Operations on rows of activations against double precision.
#include "cuda/operations.hpp"

namespace llmos::core {
namespace {

using test::Floats;

class CudaRows : public test::Operations {};
INSTANTIATE_TEST_SUITE_P(Order, CudaRows, test::every_order(), test::order_name);

TEST_P(CudaRows, NormAgreesWithDoublePrecision) {
  for (const size_t columns : {1, 8, 33, 64, 172, 300, 1031})
    for (const bool in_place : {false, true}) {
      const size_t rows = 3;
      const Floats x = test::normal(rows * columns, random, 3), weight = test::normal(columns, random);
      const auto in = put(rows, columns, x), w = put(1, columns, weight), other = put(rows, columns);
      backend->norm(in.matrix, w.matrix.data, 1e-5f, (in_place ? in : other).matrix);
      const Floats found = (in_place ? in : other).read();
      for (size_t r = 0; r < rows; r++) {
        double squares = 0;
        for (size_t i = 0; i < columns; i++) squares += double{x[r * columns + i]} * x[r * columns + i];
        const double scale = 1 / std::sqrt(squares / static_cast<double>(columns) + 1e-5);
        for (size_t i = 0; i < columns; i++)
          ASSERT_NEAR(found[r * columns + i], x[r * columns + i] * scale * weight[i], 1e-5) << columns << " " << i;
      }
    }
}

TEST_P(CudaRows, RotationTurnsPairsAndLeavesTheRest) {
  for (const bool interleaved : {false, true})
    for (const auto& [heads, size, rotated] : {std::array<size_t, 3>{3, 20, 12}, std::array<size_t, 3>{40, 16, 16}}) {
      const size_t rows = 2, columns = heads * size;
      const Floats x = test::normal(rows * columns, random);
      Floats angles;
      for (size_t i = 0; i < rows * rotated / 2; i++) {
        angles.push_back(static_cast<float>(std::cos(0.3 * static_cast<double>(i))));
        angles.push_back(static_cast<float>(std::sin(0.3 * static_cast<double>(i))));
      }
      const auto in = put(rows, columns, x), table = put(rows, rotated, angles);
      backend->rotate(in.matrix, heads, {table.matrix, interleaved});
      Floats expected = x;
      for (size_t r = 0; r < rows; r++)
        for (size_t h = 0; h < heads; h++)
          for (size_t k = 0; k < rotated / 2; k++) {
            const size_t head = r * columns + h * size;
            const size_t a = head + (interleaved ? 2 * k : k), b = head + (interleaved ? 2 * k + 1 : k + rotated / 2);
            const float c = angles[r * rotated + 2 * k], s = angles[r * rotated + 2 * k + 1];
            expected[a] = x[a] * c - x[b] * s;
            expected[b] = x[a] * s + x[b] * c;
          }
      const Floats found = in.read();
      for (size_t i = 0; i < found.size(); i++) ASSERT_NEAR(found[i], expected[i], 1e-6) << i;
    }
}

TEST_P(CudaRows, GatesSumsAndCapsAgreeOverTheirWholeRange) {
  Floats x, up;
  for (float value = -120; value < 120; value += 0.37f) {
    x.push_back(value);
    up.push_back(2 - value / 50);
  }
  for (const Activation activation : {Activation::silu, Activation::gelu}) {
    const auto in = put(1, x.size(), x), with = put(1, x.size(), up);
    backend->gate(in.matrix, with.matrix, activation);
    const Floats found = in.read();
    for (size_t i = 0; i < x.size(); i++) {
      const double v = x[i], inner = 0.7978845608 * v * (1 + 0.044715 * v * v);
      const double expected =
          (activation == Activation::silu ? v / (1 + std::exp(-v)) : 0.5 * v * (1 + std::tanh(inner))) * up[i];
      ASSERT_NEAR(found[i], expected, 2e-6 * (1 + std::fabs(v * up[i]))) << v;
    }
  }
  const auto sum = put(1, x.size(), x), delta = put(1, x.size(), up), capped = put(1, x.size(), x);
  backend->add(sum.matrix, delta.matrix);
  backend->soft_cap(capped.matrix, 30);
  const Floats sums = sum.read(), caps = capped.read();
  for (size_t i = 0; i < x.size(); i++) {
    ASSERT_EQ(sums[i], x[i] + up[i]);
    ASSERT_NEAR(caps[i], 30 * std::tanh(x[i] / 30.0), 1e-5);
  }
}

TEST_P(CudaRows, GatherTakesRowsInAnyOrder) {
  const Floats x = test::normal(7 * 300, random);
  const auto in = put(7, 300, x), out = put(4, 300);
  const std::vector<uint32_t> rows{6, 0, 3, 3};
  backend->gather(in.matrix, rows, out.matrix);
  const Floats found = out.read();
  for (size_t i = 0; i < found.size(); i++) ASSERT_EQ(found[i], x[rows[i / 300] * 300 + i % 300]);
}

}  // namespace
}  // namespace llmos::core
