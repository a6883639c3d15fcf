// SPDX-License-Identifier: MIT
#include <cerrno>

#include "backend/cpu/cpu_backend.hpp"
#include "system/error.hpp"
#if defined(LLMOS_HAVE_CUDA)
#include "cuda/cuda_backend.hpp"
#endif

namespace llmos::core {

std::unique_ptr<Backend> make_backend(const BackendOptions& options) {
  if (options.device == "cpu")
    return std::make_unique<CpuBackend>(options.threads, options.pin, select_kernels(options.kernels));
#if defined(LLMOS_HAVE_CUDA)
  if (options.device.starts_with("cuda:")) return make_cuda_backend(options);
  fail(ENOTSUP, "the device '{}' was asked for; this build has 'cpu' and 'cuda:N'", options.device);
#else
  fail(ENOTSUP, "the device '{}' was asked for; this build has 'cpu' (and no CUDA: -DLLMOS_CUDA=OFF)", options.device);
#endif
}

}  // namespace llmos::core
