// SPDX-License-Identifier: MIT
// Products and embeddings of every weight type against sums in double precision, over shapes that fit no warp.
#include <algorithm>

#include "cuda/operations.hpp"
#include "cuda/packed.hpp"

namespace llmos::core {
namespace {

using test::Floats;

using test::exact;
using test::Weight;

void expect_product(const Floats& found, const Weight& weight, const Floats& x, const Floats& bias,
                    const std::string& what) {
  const size_t rows = weight.view.rows(), tokens = x.size() / weight.view.columns();
  for (size_t t = 0; t < tokens; t++)
    for (size_t r = 0; r < rows; r++) {
      const auto [sum, size] = exact(weight, x, t, r);
      ASSERT_NEAR(found[t * rows + r], sum + (bias.empty() ? 0 : bias[r]), 4e-6 * (size + 1))
          << what << " " << rows << "x" << weight.view.columns() << " tokens " << tokens << ": row " << r << " token "
          << t;
    }
}

std::vector<size_t> widths(TensorType type) {
  const size_t block = tensor_type_info(type).block_elements;
  if (block == 32) return {32, 96, 288, 4096 + 64};
  if (block == 256) return {256, 1280, 4096 + 256};
  return {1, 7, 64, 172, 4096 + 9};
}

class CudaMatrix : public test::Operations {};
INSTANTIATE_TEST_SUITE_P(Order, CudaMatrix, test::every_order(), test::order_name);

TEST_P(CudaMatrix, ProductsAgreeWithDoublePrecisionOnAwkwardShapes) {
  for (const TensorTypeInfo& type : tensor_types)
    for (const size_t columns : widths(type.type))
      for (const size_t rows : {1, 3, 18})
        for (const size_t tokens : {1, 2, 3, 9}) {
          if (columns > 2048 && (rows < 4 || tokens == 2)) continue;  // enough
          const Weight weight(type.type, rows, columns, random);
          const Floats x = test::normal(tokens * columns, random), bias = test::normal(rows, random);
          const auto in = put(tokens, columns, x), out = put(tokens, rows), bias_in = put(1, rows, bias);
          const bool biased = rows == 3;
          backend->multiply(in.matrix,
                            {{backend->adopt(weight.view), biased ? bias_in.matrix.data : nullptr, out.matrix}});
          expect_product(out.read(), weight, x, biased ? bias : Floats{}, std::string(type.name));
          if (HasFatalFailure()) return;
        }
}

TEST_P(CudaMatrix, SeveralProductsAtOnceEachGoToTheirPlace) {
  const size_t columns = 256;
  for (const auto& types : {std::array{TensorType::q4_k, TensorType::q4_k, TensorType::q4_k},
                            std::array{TensorType::q4_k, TensorType::q4_k, TensorType::q6_k},
                            std::array{TensorType::f16, TensorType::q8_0, TensorType::f16}})
    for (const size_t tokens : {1, 5}) {
      const Weight q(types[0], 21, columns, random), k(types[1], 7, columns, random), v(types[2], 1, columns, random);
      const Floats x = test::normal(tokens * columns, random);
      const auto in = put(tokens, columns, x), q_out = put(tokens, 21), k_out = put(tokens, 7), v_out = put(tokens, 1);
      backend->multiply(in.matrix, {{backend->adopt(q.view), nullptr, q_out.matrix},
                                    {backend->adopt(k.view), nullptr, k_out.matrix},
                                    {backend->adopt(v.view), nullptr, v_out.matrix}});
      expect_product(q_out.read(), q, x, {}, "first");
      expect_product(k_out.read(), k, x, {}, "second");
      expect_product(v_out.read(), v, x, {}, "third");
    }
}

TEST_P(CudaMatrix, GatedProductIsTheActivationOfOneTimesTheOther) {
  for (const auto& [first, second] :
       {std::pair{TensorType::q4_0, TensorType::q4_0}, std::pair{TensorType::f32, TensorType::f32},
        std::pair{TensorType::q5_0, TensorType::q8_0}})
    for (const Activation activation : {Activation::silu, Activation::gelu})
      for (const size_t tokens : {1, 2, 11})
        for (const size_t rows : {1, 19}) {
          const Weight gate(first, rows, 160, random), up(second, rows, 160, random);
          const Floats x = test::normal(tokens * 160, random, 4);
          const auto in = put(tokens, 160, x), out = put(tokens, rows), scratch = put(tokens, rows);
          backend->multiply_gated(in.matrix, backend->adopt(gate.view), backend->adopt(up.view), activation, out.matrix,
                                  scratch.matrix);
          const Floats found = out.read();
          for (size_t i = 0; i < found.size(); i++) {
            const double g = exact(gate, x, i / rows, i % rows).first, u = exact(up, x, i / rows, i % rows).first;
            const double expected = test::activated(activation, g) * u;
            ASSERT_NEAR(found[i], expected, 2e-5 * (1 + std::fabs(expected))) << i << " of " << tokens << "x" << rows;
          }
        }
}

TEST_P(CudaMatrix, EmbeddingsAreTheTablesRowsToTheLastBitButOne) {
  for (const TensorTypeInfo& type : tensor_types) {
    const size_t columns = type.block_elements == 1 ? 83 : 768;
    const Weight table(type.type, 9, columns, random);
    const TensorView adopted = backend->adopt(table.view);
    const std::vector<int32_t> tokens{8, 0, 3, 3};
    for (const float scale : {1.0f, 1.5f}) {
      const auto out = put(tokens.size(), columns);
      backend->embed(adopted, tokens, scale, out.matrix);
      const Floats found = out.read();
      for (size_t i = 0; i < found.size(); i++) {
        const float expected = table.floats[static_cast<size_t>(tokens[i / columns]) * columns + i % columns] * scale;
        ASSERT_NEAR(found[i], expected, 2e-7f * (0.1f + std::fabs(expected))) << type.name << " " << i;
      }
    }
  }
}

// More than the staging ring holds, so that every piece of it is used again while copies may still be under way.
TEST_P(CudaMatrix, WeightLargerThanTheStagingRingArrivesWhole) {
  const Weight weight(TensorType::q5_0, 2048, 6144, random);
  ASSERT_GT(cuda::packed_bytes(weight.view), 2 * cuda::Staging::segments * cuda::Staging::segment_bytes);
  const TensorView adopted = backend->adopt(weight.view);
  std::vector<int32_t> tokens;
  for (int32_t token = 0; token < 2048; token += 61) tokens.push_back(token);
  const auto out = put(tokens.size(), 6144);
  backend->embed(adopted, tokens, 1, out.matrix);
  const Floats found = out.read();
  for (size_t i = 0; i < tokens.size(); i++)
    for (size_t k = 0; k < 6144; k++)
      ASSERT_EQ(found[i * 6144 + k], weight.floats[static_cast<size_t>(tokens[i]) * 6144 + k]) << tokens[i];
}

}  // namespace
}  // namespace llmos::core
