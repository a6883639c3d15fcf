// SPDX-License-Identifier: MIT
// Where no CUDA driver is installed.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "backend/backend.hpp"
#include "support/failure.hpp"

TEST(CudaAbsent, DeviceIsRefusedAndTheCpuIsNamed) {
  if (dlopen("libcuda.so.1", RTLD_LAZY)) GTEST_SKIP() << "this machine has a CUDA driver";
  llmos::core::BackendOptions options;
  options.device = "cuda:0";
  EXPECT_FAILURE(ENODEV, "there is no CUDA driver", llmos::core::make_backend(options));
  EXPECT_FAILURE(ENODEV, "use the device 'cpu'", llmos::core::make_backend(options));
}
