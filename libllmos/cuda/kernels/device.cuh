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
