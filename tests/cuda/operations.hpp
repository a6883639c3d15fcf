// SPDX-License-Identifier: MIT
// The CUDA backend's operations one by one, simulated: matrices put on the fake device and read back.
#pragma once

#include <cmath>
#include <random>
#include <vector>

#include "cuda/cuda_backend.hpp"
#include "cuda/simulated.hpp"

namespace llmos::test {

using Floats = std::vector<float>;

inline Floats normal(size_t count, std::mt19937_64& random, float size = 1) {
  std::normal_distribution<float> distribution(0, size);
  Floats values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

// A matrix on the device. What is not written reads as 12345.
class OnDevice {
 public:
  OnDevice(core::Backend& backend, size_t rows, size_t columns, const Floats& values = {})
      : backend_(backend), memory_(backend.allocate(rows * columns * sizeof(float))) {
    matrix = {reinterpret_cast<float*>(memory_.get()), rows, columns};
    const Floats filled = values.empty() ? Floats(rows * columns, 12345) : values;
    backend.upload(filled.data(), filled.size() * sizeof(float), memory_.get());
  }
  Floats read() const {
    Floats values(matrix.rows * matrix.columns);
    backend_.download(memory_.get(), values.size() * sizeof(float), values.data());
    return values;
  }
  core::Matrix matrix;

 private:
  core::Backend& backend_;
  core::Memory memory_;
};

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
