// SPDX-License-Identifier: MIT
// The kernels' image within the library: a fat binary that nvcc made, or nothing.
#include "cuda/device.hpp"

#if defined(LLMOS_CUDA_IMAGE)
asm(".section .rodata, \"a\"\n"
    ".balign 64\n"
    "llmos_cuda_image:\n"
    ".incbin \"" LLMOS_CUDA_IMAGE
    "\"\n"
    "llmos_cuda_image_end:\n"
    ".byte 0\n"
    ".previous\n");
extern "C" __attribute__((visibility("hidden"))) const std::byte llmos_cuda_image[], llmos_cuda_image_end[];
#endif

namespace llmos::cuda {

std::span<const std::byte> built_in_image() {
#if defined(LLMOS_CUDA_IMAGE)
  return {llmos_cuda_image, llmos_cuda_image_end};
#else
  return {};
#endif
}

}  // namespace llmos::cuda
