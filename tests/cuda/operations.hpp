// SPDX-License-Identifier: MIT
// The CUDA backend's operations one by one, simulated.
#pragma once

#include <random>

#include "cuda/cuda_backend.hpp"
#include "cuda/matrices.hpp"
#include "cuda/simulated.hpp"

namespace llmos::test {

// Each test runs once for every order in which threads may run.
class Operations : public Simulated, public testing::WithParamInterface<simt::Schedule> {
 protected:
  void SetUp() override {
    fake_cuda::reset({.schedule = GetParam()});
    const auto given = image();
    backend = std::make_unique<core::CudaBackend>(0, given.empty() ? cuda::built_in_image() : given);
    backend->begin();
  }
  void TearDown() override {
    if (backend) backend->end();
    backend.reset();
    Simulated::TearDown();
  }
  OnDevice put(size_t rows, size_t columns, const Floats& values = {}) { return {*backend, rows, columns, values}; }

  std::unique_ptr<core::CudaBackend> backend;
  std::mt19937_64 random{1};
};

inline auto every_order() {
  return testing::Values(simt::Schedule{simt::Order::fifo}, simt::Schedule{simt::Order::lifo},
                         simt::Schedule{simt::Order::random, 7});
}

inline std::string order_name(const testing::TestParamInfo<simt::Schedule>& info) {
  return info.param.order == simt::Order::fifo ? "fifo" : info.param.order == simt::Order::lifo ? "lifo" : "random";
}

}  // namespace llmos::test
