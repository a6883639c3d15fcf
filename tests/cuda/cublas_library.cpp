// SPDX-License-Identifier: MIT
// NVIDIA's own cuBLASLt, where it is installed, as far as it goes without a GPU: it knows every call that llmos makes,
// and what llmos tells it of products. Not simulated, and nothing is computed.
#include <gtest/gtest.h>

#include <algorithm>

#include "cuda/cublas_lt.hpp"

namespace llmos::cuda {
namespace {

class CublasLibrary : public testing::Test {
 protected:
  void SetUp() override {
    library = CublasLt::find(1000000);
    if (!library) GTEST_SKIP() << "there is no cuBLASLt on this machine";
  }
  const CublasLt* library = nullptr;
};

TEST_F(CublasLibrary, IsFoundWithItsVersion) {
  EXPECT_GE(std::stoi(library->version()), 12);
  EXPECT_EQ(std::count(library->version().begin(), library->version().end(), '.'), 2);
  EXPECT_EQ(CublasLt::find(1000000), library);
}

TEST_F(CublasLibrary, TakesLayoutsOfEveryType) {
  for (const int type : {lt::type_f32, lt::type_f16, lt::type_bf16}) {
    lt::Layout layout = nullptr;
    EXPECT_EQ(library->layout_create(&layout, type, 300, 70, 304), lt::success) << type;
    EXPECT_EQ(library->layout_destroy(layout), lt::success);
  }
}

TEST_F(CublasLibrary, TakesWhatIsSaidOfAProduct) {
  lt::Description description = nullptr;
  ASSERT_EQ(library->description_create(&description, lt::compute_f32, lt::type_f32), lt::success);
  const int32_t transposed = lt::transposed;
  EXPECT_EQ(library->description_set(description, lt::describe_transpose_a, &transposed, sizeof transposed),
            lt::success);
  EXPECT_EQ(library->description_set(description, lt::describe_transpose_a, &transposed, 2), lt::invalid_value)
      << "it counts the bytes";
  EXPECT_EQ(library->description_destroy(description), lt::success);
}

TEST_F(CublasLibrary, TakesWhatIsPreferred) {
  lt::Preference preference = nullptr;
  ASSERT_EQ(library->preference_create(&preference), lt::success);
  const uint64_t workspace = LibraryProducts::most_workspace;
  const uint32_t alignment = 16;
  EXPECT_EQ(library->preference_set(preference, lt::prefer_workspace, &workspace, sizeof workspace), lt::success);
  EXPECT_EQ(library->preference_set(preference, lt::prefer_workspace, &workspace, 4), lt::invalid_value);
  for (const int attribute :
       {lt::prefer_alignment_a, lt::prefer_alignment_b, lt::prefer_alignment_c, lt::prefer_alignment_d}) {
    EXPECT_EQ(library->preference_set(preference, attribute, &alignment, sizeof alignment), lt::success) << attribute;
    EXPECT_EQ(library->preference_set(preference, attribute, &workspace, sizeof workspace), lt::invalid_value);
  }
  EXPECT_EQ(library->preference_destroy(preference), lt::success);
}

}  // namespace
}  // namespace llmos::cuda
