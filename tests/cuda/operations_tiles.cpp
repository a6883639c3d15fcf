// SPDX-License-Identifier: MIT
// Products with many tokens, which tensor cores make from halves, against sums in double precision.
#include <algorithm>

#include "cuda/operations.hpp"

namespace llmos::core {
namespace {

using test::exact;
using test::Floats;
using test::Weight;

constexpr TensorType types[] = {TensorType::f16,  TensorType::q4_0, TensorType::q5_0, TensorType::q8_0,
                                TensorType::q4_k, TensorType::q5_k, TensorType::q6_k};

std::vector<size_t> widths(TensorType type) {
  const size_t block = tensor_type_info(type).block_elements;
  if (block == 32) return {32, 288};
  if (block == 256) return {256, 768};
  return {7, 300};
}

class CudaTiles : public test::Operations {
 protected:
  // Tokens of very different sizes: each has its own scale, so none overflows and none is lost.
  Floats activations(size_t tokens, size_t columns) {
    Floats x = test::normal(tokens * columns, random);
    for (size_t t = 0; t < tokens; t++)
      for (size_t i = 0; i < columns; i++) x[t * columns + i] *= std::pow(10.0f, static_cast<float>(t % 13) - 6);
    return x;
  }

  // What rounding both factors to halves costs, at most: 2^-11 of each product, and less of many.
  static double bound(double size, size_t columns) {
    return size * (1.5e-3 / std::sqrt(static_cast<double>(columns)) + 1e-4);
  }

  static void expect_product(const Floats& found, const Weight& weight, const Floats& x, const Floats& bias) {
    const size_t rows = weight.view.rows(), columns = weight.view.columns(), tokens = x.size() / columns;
    for (size_t t = 0; t < tokens; t++)
      for (size_t r = 0; r < rows; r++) {
        const auto [sum, size] = exact(weight, x, t, r);
        const double added = bias.empty() ? 0 : bias[r];
        ASSERT_NEAR(found[t * rows + r], sum + added, bound(size, columns) + 1e-6 * std::fabs(added))
            << static_cast<int>(weight.view.type) << " " << rows << "x" << columns << " tokens " << tokens << ": row "
            << r << " token " << t;
      }
  }
};
INSTANTIATE_TEST_SUITE_P(Order, CudaTiles, test::every_order(), test::order_name);

TEST_P(CudaTiles, AgreeWithDoublePrecisionOnAwkwardShapes) {
  for (const TensorType type : types)
    for (const size_t columns : widths(type))
      for (const size_t rows : {3, 70})
        for (const size_t tokens : {16, 67}) {
          if (rows == 70 && tokens == 67 && columns > 300) continue;  // enough
          const Weight weight(type, rows, columns, random);
          const Floats x = activations(tokens, columns), bias = test::normal(rows, random, 1e-3f);
          const auto in = put(tokens, columns, x), out = put(tokens, rows), bias_in = put(1, rows, bias);
          const bool biased = rows == 3;
          fake_cuda::take_launches();
          backend->multiply(in.matrix,
                            {{backend->adopt(weight.view), biased ? bias_in.matrix.data : nullptr, out.matrix}});
          expect_product(out.read(), weight, x, biased ? bias : Floats{});
          EXPECT_EQ(fake_cuda::take_launches().front(), "llmos_halve");
          if (HasFatalFailure()) return;
        }
}

TEST_P(CudaTiles, SeveralProductsAtOnceEachGoToTheirPlace) {
  const size_t columns = 256, tokens = 21;
  for (const auto& types : {std::array{TensorType::q4_k, TensorType::q4_k, TensorType::q4_k},
                            std::array{TensorType::f16, TensorType::q8_0, TensorType::f32}}) {
    const Weight q(types[0], 61, columns, random), k(types[1], 7, columns, random), v(types[2], 66, columns, random);
    const Floats x = activations(tokens, columns);
    const auto in = put(tokens, columns, x), q_out = put(tokens, 61), k_out = put(tokens, 7), v_out = put(tokens, 66);
    backend->multiply(in.matrix, {{backend->adopt(q.view), nullptr, q_out.matrix},
                                  {backend->adopt(k.view), nullptr, k_out.matrix},
                                  {backend->adopt(v.view), nullptr, v_out.matrix}});
    expect_product(q_out.read(), q, x, {});
    expect_product(k_out.read(), k, x, {});
    expect_product(v_out.read(), v, x, {});
  }
}

TEST_P(CudaTiles, GatedProductIsTheActivationOfOneTimesTheOther) {
  for (const Activation activation : {Activation::silu, Activation::gelu})
    for (const size_t rows : {1, 43}) {
      const size_t tokens = 18, columns = 160;
      const Weight gate(TensorType::q4_0, rows, columns, random), up(TensorType::q4_0, rows, columns, random);
      const Floats x = test::normal(tokens * columns, random, 4);
      const auto in = put(tokens, columns, x), out = put(tokens, rows), scratch = put(tokens, rows);
      backend->multiply_gated(in.matrix, backend->adopt(gate.view), backend->adopt(up.view), activation, out.matrix,
                              scratch.matrix);
      const Floats found = out.read();
      for (size_t i = 0; i < found.size(); i++) {
        const auto [g, g_size] = exact(gate, x, i / rows, i % rows);
        const auto [u, u_size] = exact(up, x, i / rows, i % rows);
        const double factor = test::activated(activation, g);  // whose slope is at most 1.13
        const double error = 1.13 * bound(g_size, columns) * std::fabs(u) + bound(u_size, columns) * std::fabs(factor);
        ASSERT_NEAR(found[i], factor * u, error + 1e-5) << i << " of " << tokens << "x" << rows;
      }
    }
}

}  // namespace
}  // namespace llmos::core
