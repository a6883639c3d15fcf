// SPDX-License-Identifier: MIT
// The key-value cache and attention of single tokens over it: shared heads, windows, soft caps, several sequences in a
// batch, pages that lie anywhere.
#include "cuda/attention.hpp"

namespace llmos::core {
namespace {

class CudaAttention : public test::CudaAttention {};
INSTANTIATE_TEST_SUITE_P(Order, CudaAttention, test::every_order(), test::order_name);

TEST_P(CudaAttention, AgreesWithDoublePrecision) {
  for (const test::Stretch& stretch : std::vector<test::Stretch>{{1, 1}, {2, 2}, {64, 1}, {65, 3}, {130, 5}})
    for (const auto& [heads, kv_heads] : std::vector<std::pair<size_t, size_t>>{{1, 1}, {4, 2}, {3, 1}})
      for (const size_t size : {8, 20, 64, 80, 256})
        for (const size_t window : {size_t{1}, size_t{7}, size_t{64}, SIZE_MAX}) {
          if (size > 64 && (heads != 4 || stretch.positions == 64)) continue;  // enough
          const float cap = window == 7 ? 3.0f : 0.0f;
          for (const CacheType type : {CacheType::f16, CacheType::q8_0}) {
            if (type == CacheType::q8_0 && size % 32) continue;
            const auto launches =
                expect_attention({heads, kv_heads, size, window, cap, type}, {stretch}, bound_of(type));
            if (HasFatalFailure()) return;
            EXPECT_EQ(launches.size(), 1u);
            EXPECT_TRUE(launches[0].starts_with("llmos_attend_")) << launches[0];
          }
        }
}

TEST_P(CudaAttention, SequencesOfABatchSeeOnlyTheirOwnPages) {
  for (const size_t tokens : {1, 3})
    expect_attention({4, 2, 32}, {{90, tokens}, {90, tokens}, {90, tokens}}, bound_of(CacheType::f16));
}

TEST_P(CudaAttention, HeadsThatDoNotFitAreRefused) {
  EXPECT_ANY_THROW(backend->cache_layout(CacheType::f16, 1, 1, 264));
  EXPECT_ANY_THROW(backend->cache_layout(CacheType::q8_0, 1, 1, 40));
}

}  // namespace
}  // namespace llmos::core
