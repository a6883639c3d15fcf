// SPDX-License-Identifier: MIT
// Attention of prompts by tensor cores: tiles that are not full, edges of windows and of tiles, prompts that go on
// where a cache ends, every size of heads, several sequences in a batch.
#include "cuda/attention.hpp"

namespace llmos::core {
namespace {

using test::AttentionCase;
using test::Stretch;

class CudaFlash : public test::CudaAttention {
 protected:
  void expect_flash(const AttentionCase& c, const Stretch& stretch) {
    const std::string type = c.type == CacheType::f16 ? "f16_" : "q8_0_";
    const std::string size = c.head_size <= 64 ? "64" : c.head_size <= 96 ? "96" : c.head_size <= 128 ? "128" : "256";
    const auto launches = expect_attention(c, {stretch}, bound_of(c.type));
    if (HasFatalFailure()) return;
    EXPECT_EQ(launches, std::vector<std::string>{"llmos_flash_" + type + size});
  }
};
INSTANTIATE_TEST_SUITE_P(Order, CudaFlash, test::every_order(), test::order_name);

TEST_P(CudaFlash, AgreesWithDoublePrecisionAtEveryEdge) {
  for (const Stretch& stretch :
       std::vector<Stretch>{{16, 16}, {17, 17}, {64, 64}, {65, 65}, {100, 33}, {129, 16}, {200, 139}})
    for (const size_t window : {size_t{1}, size_t{7}, size_t{40}, size_t{64}, size_t{65}, SIZE_MAX}) {
      expect_flash({3, 1, 20, window, window == 7 ? 3.0f : 0.0f}, stretch);
      if (HasFatalFailure()) return;
    }
}

TEST_P(CudaFlash, TakesEverySizeOfHeadsAndEveryCache) {
  for (const size_t size : {1, 8, 32, 64, 80, 96, 100, 128, 160, 256})
    for (const CacheType type : {CacheType::f16, CacheType::q8_0})
      for (const size_t window : {size_t{37}, SIZE_MAX}) {
        if (type == CacheType::q8_0 && size % 32) continue;
        expect_flash({4, 2, size, window, window == 37 ? 5.0f : 0.0f, type}, {100, 41});
        if (HasFatalFailure()) return;
      }
}

TEST_P(CudaFlash, SharesAHeadOfTheCacheAmongAnyNumber) {
  for (const auto& [heads, kv_heads] :
       std::vector<std::pair<size_t, size_t>>{{1, 1}, {2, 2}, {5, 1}, {16, 2}, {70, 1}}) {
    expect_flash({heads, kv_heads, 16, 50}, {90, 19});
    if (HasFatalFailure()) return;
  }
}

// Prompts and single tokens, in any order: each sees its own pages, and each row is written by the kernel meant for it.
TEST_P(CudaFlash, PromptsAndSingleTokensShareABatch) {
  for (const size_t window : {size_t{30}, SIZE_MAX}) {
    const auto launches =
        expect_attention({4, 2, 32, window}, {{90, 1}, {40, 40}, {70, 3}, {5, 5}, {130, 17}, {66, 16}, {64, 1}},
                         bound_of(CacheType::f16));
    if (HasFatalFailure()) return;
    EXPECT_EQ(launches, (std::vector<std::string>{"llmos_flash_f16_64", "llmos_attend_f16", "llmos_attend_f16",
                                                  "llmos_attend_f16"}));
  }
}

// Queries that no half could hold, and ones that halves would lose.
TEST_P(CudaFlash, QueriesOfAnySizeKeepTheirDigits) {
  for (const float size : {1e-9f, 1e-4f, 1e6f}) {
    AttentionCase c{2, 1, 64};
    c.query_size = size;
    expect_flash(c, {50, 20});
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace llmos::core
