// SPDX-License-Identifier: MIT
// The dialect that the kernels are written in: CUDA as nvcc compiles it, or the tests' SIMT shim on the host. Whatever
// only one of the two has is wrapped here and nowhere else.
#pragma once

#include "cuda/kernels/arguments.hpp"

#if defined(__CUDACC__)

#include <cuda_fp16.h>

#define DEVICE __device__ __forceinline__
#define KERNEL(name, threads, Arguments) \
  extern "C" __global__ void __launch_bounds__(threads) llmos_##name(const __grid_constant__ Arguments arguments)
#define SHARED(type, name, count) __shared__ type name[count]
#define UNROLL _Pragma("unroll")

namespace llmos::cuda {

DEVICE float half_to_float(uint16_t half) { return __half2float(__ushort_as_half(half)); }
DEVICE uint16_t float_to_half(float value) { return __half_as_ushort(__float2half_rn(value)); }
DEVICE float bits_to_float(uint32_t bits) { return __uint_as_float(bits); }
DEVICE uint32_t float_to_bits(float value) { return __float_as_uint(value); }
DEVICE float round_to_even(float value) { return rintf(value); }
DEVICE float reciprocal_root(float value) { return 1.0f / sqrtf(value); }

// Weights are read once: they should not push the activations out of the cache.
DEVICE uint4 load16(const unsigned char* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}
DEVICE uint32_t load4(const unsigned char* p) { return __ldg(reinterpret_cast<const uint32_t*>(p)); }
DEVICE uint16_t load2(const unsigned char* p) { return __ldg(reinterpret_cast<const uint16_t*>(p)); }
DEVICE int load_byte(const unsigned char* p) { return static_cast<signed char>(__ldg(p)); }
DEVICE uint4 cached16(const unsigned char* p) { return *reinterpret_cast<const uint4*>(p); }
DEVICE uint2 cached8(const unsigned char* p) { return *reinterpret_cast<const uint2*>(p); }
DEVICE float4 load_floats(const float* p) { return __ldg(reinterpret_cast<const float4*>(p)); }

// sums += a (16 x 16 halves) times b (16 x 8), by the tensor cores of a warp. Lane l, with g = l / 4 and t = l % 4 * 2,
// gives rows g and g + 8 of a, columns t, t + 1 and t + 8, t + 9 (a[0] and a[2] of row g, a[1] and a[3] of g + 8), and
// those columns of token g of b. It gets sums (g, t), (g, t + 1), (g + 8, t), (g + 8, t + 1).
DEVICE void multiply_halves(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
#if __CUDA_ARCH__ >= 800
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
#pragma unroll
  for (int i = 0; i < 2; i++)
    asm("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(a[2 * i]), "r"(a[2 * i + 1]), "r"(b[i]));
#endif
}

}  // namespace llmos::cuda

#else

#include <bit>
#include <cmath>

#include "backend/cpu/blocks.hpp"
#include "simt/simt.hpp"

#define DEVICE inline
#define KERNEL(name, threads, Arguments) inline void llmos_##name(const Arguments& arguments)
#define SHARED(type, name, count) \
  type* const name = static_cast<type*>(simt::shared(SIMT_SITE("shared " #name), (count) * sizeof(type)))
#define UNROLL

namespace llmos::cuda {

using core::float_to_half;
using core::half_to_float;
inline float bits_to_float(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t float_to_bits(float value) { return std::bit_cast<uint32_t>(value); }
inline float round_to_even(float value) { return std::nearbyintf(value); }
inline float reciprocal_root(float value) { return 1.0f / std::sqrt(value); }

inline uint4 load16(const unsigned char* p) { return simt::load<uint4>(p); }
inline uint32_t load4(const unsigned char* p) { return simt::load<uint32_t>(p); }
inline uint16_t load2(const unsigned char* p) { return simt::load<uint16_t>(p); }
inline int load_byte(const unsigned char* p) { return static_cast<signed char>(*p); }
inline uint4 cached16(const unsigned char* p) { return simt::load<uint4>(p); }
inline uint2 cached8(const unsigned char* p) { return simt::load<uint2>(p); }
inline float4 load_floats(const float* p) { return simt::load<float4>(p); }

inline void multiply_halves(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  simt::multiply_16x8x16(sums, a, b, half_to_float, SIMT_SITE("mma"));
}

}  // namespace llmos::cuda

#endif

namespace llmos::cuda {

inline constexpr unsigned all_lanes = 0xffffffffu;

DEVICE float warp_sum(float value) {
  UNROLL
  for (int bits = 16; bits; bits >>= 1) value += __shfl_xor_sync(all_lanes, value, bits);
  return value;
}

DEVICE float warp_max(float value) {
  UNROLL
  for (int bits = 16; bits; bits >>= 1) value = fmaxf(value, __shfl_xor_sync(all_lanes, value, bits));
  return value;
}

// The largest of a block, in every thread. All threads call it, once in a kernel.
DEVICE float block_max(float value) {
  SHARED(float, parts, warp_lanes);
  value = warp_max(value);
  if (threadIdx.x % warp_lanes == 0) parts[threadIdx.x / warp_lanes] = value;
  __syncthreads();
  const unsigned warps = blockDim.x / warp_lanes, lane = threadIdx.x % warp_lanes;
  return warp_max(lane < warps ? parts[lane] : 0.0f);
}

// The sum over a block, in every thread. All threads call it, once in a kernel.
DEVICE float block_sum(float value) {
  SHARED(float, parts, warp_lanes);
  value = warp_sum(value);
  if (threadIdx.x % warp_lanes == 0) parts[threadIdx.x / warp_lanes] = value;
  __syncthreads();
  const unsigned warps = blockDim.x / warp_lanes, lane = threadIdx.x % warp_lanes;
  return warp_sum(lane < warps ? parts[lane] : 0.0f);
}

// Activations, by their number in backend/types.hpp.
DEVICE float activate(float x, unsigned activation) {
  if (activation == 0) return x / (1.0f + expf(-x));
  const float inner = 0.7978845608f * x * (x * x * 0.044715f + 1.0f);
  return 0.5f * x * (1.0f + tanhf(inner));
}

}  // namespace llmos::cuda
