// SPDX-License-Identifier: MIT
#include "fake_cuda/kernels.hpp"

#include "cuda/kernels/kernels.cu"

namespace fake_cuda {

using namespace llmos::cuda;

const RunnableKernel* find_kernel(std::string_view name) {
  static constexpr RunnableKernel all[] = {
#define RUNNABLE(kernel, threads, Arguments)     \
  {"llmos_" #kernel, sizeof(Arguments), threads, \
   [](const void* arguments) { llmos_##kernel(*static_cast<const Arguments*>(arguments)); }},
      LLMOS_CUDA_KERNELS(RUNNABLE)
#undef RUNNABLE
  };
  for (const RunnableKernel& kernel : all)
    if (kernel.name == name) return &kernel;
  return nullptr;
}

}  // namespace fake_cuda
