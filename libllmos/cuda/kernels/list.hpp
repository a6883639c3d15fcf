// SPDX-License-Identifier: MIT
// All kernels, for those who define, load or register them: LLMOS_CUDA_KERNELS(USE) is USE(name, threads, Arguments)
// for each. In an image a kernel is called llmos_NAME.
#pragma once

#define LLMOS_CUDA_TYPES(USE) \
  USE(f32, UnitF32)           \
  USE(f16, UnitF16)           \
  USE(bf16, UnitBF16)         \
  USE(q4_0, UnitQ4_0)         \
  USE(q5_0, UnitQ5_0)         \
  USE(q8_0, UnitQ8_0)         \
  USE(q4_k, UnitQ4_K)         \
  USE(q5_k, UnitQ5_K)         \
  USE(q6_k, UnitQ6_K)

// Those whose weights keep their digits as halves.
#define LLMOS_CUDA_TILE_TYPES(USE) \
  USE(f16, UnitF16)                \
  USE(q4_0, UnitQ4_0)              \
  USE(q5_0, UnitQ5_0)              \
  USE(q8_0, UnitQ8_0)              \
  USE(q4_k, UnitQ4_K)              \
  USE(q5_k, UnitQ5_K)              \
  USE(q6_k, UnitQ6_K)

// Those that every type has, in this order: see kernel_for() in cuda_backend.cpp.
#define LLMOS_CUDA_KERNELS_OF_TYPE(USE, type)                   \
  USE(embed_##type, row_threads, EmbedArguments)                \
  USE(multiply_one_##type, multiply_threads, MultiplyArguments) \
  USE(multiply_many_##type, multiply_threads, MultiplyArguments)

#define LLMOS_CUDA_ROW_KERNELS(USE)               \
  USE(norm, row_threads, NormArguments)           \
  USE(rotate, row_threads, RotateArguments)       \
  USE(gate, row_threads, GateArguments)           \
  USE(add, row_threads, AddArguments)             \
  USE(soft_cap, row_threads, SoftCapArguments)    \
  USE(gather, row_threads, GatherArguments)       \
  USE(store_f16, row_threads, StoreArguments)     \
  USE(store_q8_0, row_threads, StoreArguments)    \
  USE(best_of_logits, row_threads, BestArguments) \
  USE(best_of_keys, row_threads, BestArguments)   \
  USE(rest_of_logits, row_threads, RestArguments) \
  USE(halve, row_threads, HalveArguments)         \
  USE(split, row_threads, SplitArguments)         \
  USE(finish, row_threads, FinishArguments)

#define LLMOS_CUDA_ATTEND_KERNELS(USE)             \
  USE(attend_f16, attend_threads, AttendArguments) \
  USE(attend_q8_0, attend_threads, AttendArguments)

// Attention of prompts, for heads of up to so many components: USE(type, Cache, size).
#define LLMOS_CUDA_FLASH_SIZES(USE, type, Cache) \
  USE(type, Cache, 64)                           \
  USE(type, Cache, 96)                           \
  USE(type, Cache, 128)                          \
  USE(type, Cache, 256)

#define LLMOS_CUDA_FLASH_KERNELS(USE)                 \
  USE(flash_f16_64, attend_threads, FlashArguments)   \
  USE(flash_f16_96, attend_threads, FlashArguments)   \
  USE(flash_f16_128, attend_threads, FlashArguments)  \
  USE(flash_f16_256, attend_threads, FlashArguments)  \
  USE(flash_q8_0_64, attend_threads, FlashArguments)  \
  USE(flash_q8_0_96, attend_threads, FlashArguments)  \
  USE(flash_q8_0_128, attend_threads, FlashArguments) \
  USE(flash_q8_0_256, attend_threads, FlashArguments)

#define LLMOS_CUDA_TILE_KERNELS(USE)                         \
  USE(multiply_tiles_f16, multiply_threads, TilesArguments)  \
  USE(multiply_tiles_q4_0, multiply_threads, TilesArguments) \
  USE(multiply_tiles_q5_0, multiply_threads, TilesArguments) \
  USE(multiply_tiles_q8_0, multiply_threads, TilesArguments) \
  USE(multiply_tiles_q4_k, multiply_threads, TilesArguments) \
  USE(multiply_tiles_q5_k, multiply_threads, TilesArguments) \
  USE(multiply_tiles_q6_k, multiply_threads, TilesArguments)

#define LLMOS_CUDA_KERNELS(USE)         \
  LLMOS_CUDA_KERNELS_OF_TYPE(USE, f32)  \
  LLMOS_CUDA_KERNELS_OF_TYPE(USE, f16)  \
  LLMOS_CUDA_KERNELS_OF_TYPE(USE, bf16) \
  LLMOS_CUDA_KERNELS_OF_TYPE(USE, q4_0) \
  LLMOS_CUDA_KERNELS_OF_TYPE(USE, q5_0) \
  LLMOS_CUDA_KERNELS_OF_TYPE(USE, q8_0) \
  LLMOS_CUDA_KERNELS_OF_TYPE(USE, q4_k) \
  LLMOS_CUDA_KERNELS_OF_TYPE(USE, q5_k) \
  LLMOS_CUDA_KERNELS_OF_TYPE(USE, q6_k) \
  LLMOS_CUDA_TILE_KERNELS(USE)          \
  LLMOS_CUDA_ROW_KERNELS(USE)           \
  LLMOS_CUDA_ATTEND_KERNELS(USE)        \
  LLMOS_CUDA_FLASH_KERNELS(USE)
