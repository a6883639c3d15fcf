// SPDX-License-Identifier: MIT
// The kernels by name. nvcc makes the image of this file; the tests' fake driver includes it.
#include "cuda/kernels/attention.cuh"
#include "cuda/kernels/best.cuh"
#include "cuda/kernels/flash.cuh"
#include "cuda/kernels/library.cuh"
#include "cuda/kernels/list.hpp"
#include "cuda/kernels/multiply.cuh"
#include "cuda/kernels/rows.cuh"
#include "cuda/kernels/tiles.cuh"

namespace llmos::cuda {

#define DEFINE_TYPE(type, Unit)                                                                                      \
  KERNEL(embed_##type, row_threads, EmbedArguments) { embed<Unit>(arguments); }                                      \
  KERNEL(multiply_one_##type, multiply_threads, MultiplyArguments) { multiply<Unit, 1, one_token_rows>(arguments); } \
  KERNEL(multiply_many_##type, multiply_threads, MultiplyArguments) {                                                \
    multiply<Unit, many_tokens, many_tokens_rows>(arguments);                                                        \
  }
LLMOS_CUDA_TYPES(DEFINE_TYPE)

#define DEFINE_TILES(type, Unit) \
  KERNEL(multiply_tiles_##type, multiply_threads, TilesArguments) { multiply_tiles<Unit>(arguments); }
LLMOS_CUDA_TILE_TYPES(DEFINE_TILES)

#define DEFINE_ROWS(name, threads, Arguments) \
  KERNEL(name, threads, Arguments) { name(arguments); }
LLMOS_CUDA_ROW_KERNELS(DEFINE_ROWS)

KERNEL(attend_f16, attend_threads, AttendArguments) { attend<HalfCache>(arguments); }
KERNEL(attend_q8_0, attend_threads, AttendArguments) { attend<ByteCache>(arguments); }

#define DEFINE_FLASH(type, Cache, size) \
  KERNEL_IN_BLOCKS(flash_##type##_##size, attend_threads, 2, FlashArguments) { flash<Cache, size>(arguments); }
LLMOS_CUDA_FLASH_SIZES(DEFINE_FLASH, f16, HalfCache)
LLMOS_CUDA_FLASH_SIZES(DEFINE_FLASH, q8_0, ByteCache)

}  // namespace llmos::cuda
