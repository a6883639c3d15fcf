// SPDX-License-Identifier: MIT
// Engines and backends on the fake driver.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/device.hpp"
#include "fake_cuda/fake_cuda.hpp"
#include "support/stories.hpp"

namespace llmos::test {

// The kernels of this build, or, built without nvcc, what the fake driver takes for some.
inline std::span<const std::byte> image() {
  if (!cuda::built_in_image().empty()) return {};  // the backend's own choice
  static constexpr char text[] = ".version 8.0\n.target sm_75\n";
  return std::as_bytes(std::span(text));
}

inline core::EngineOptions on_cuda(size_t context = 256) {
  core::EngineOptions options;
  options.backend.device = "cuda:0";
  options.backend.cuda_image = image();
  options.backend.cublas = false;  // where it is wanted, cublas.cpp says so
  options.context = context;
  options.cache_bytes = 0;
  return options;
}

// Begins with a fresh driver; at the end nothing may be left on the device, and nothing have gone wrong unnoticed.
class Simulated : public testing::Test {
 protected:
  void SetUp() override { fake_cuda::reset(); }
  void TearDown() override {
    EXPECT_EQ(fake_cuda::ledger(), fake_cuda::Ledger{});
    EXPECT_EQ(fake_cuda::violations(), std::vector<std::string>{});
    if (!fake_cuda::fault_happened()) {
      EXPECT_EQ(fake_cuda::left_behind(), 0u);
    }
  }
};

}  // namespace llmos::test
