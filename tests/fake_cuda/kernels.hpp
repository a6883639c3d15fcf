// SPDX-License-Identifier: MIT
// The product's kernels, compiled for the host.
#pragma once

#include <cstddef>
#include <string_view>

#include "fake_cuda/fake_cuda.hpp"

namespace fake_cuda {

struct RunnableKernel {
  const char* name;
  size_t argument_bytes;
  unsigned most_threads;
  void (*run)(const void* arguments);  // in every thread of a launch
};

// nullptr: there is none of that name.
FAKE_CUDA_API const RunnableKernel* find_kernel(std::string_view name);

}  // namespace fake_cuda
