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
// The same, so that a multiprocessor has room for so many blocks at least.
#define KERNEL_IN_BLOCKS(name, threads, blocks, Arguments)      \
  extern "C" __global__ void __launch_bounds__(threads, blocks) \
      llmos_##name(const __grid_constant__ Arguments arguments)
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
DEVICE uint32_t round_to_halves(float low, float high) {
  const __half2 both = __floats2half2_rn(low, high);
  return *reinterpret_cast<const uint32_t*>(&both);
}

DEVICE unsigned shared_address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

// Copies 16 bytes to shared memory, or puts zeros there: to be read by this thread once it has waited for its copies,
// by others after a barrier, too.
DEVICE void copy_async(void* to, const void* from, bool there) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(there ? 16 : 0)
               : "memory");
#else
  *static_cast<uint4*>(to) = there ? *static_cast<const uint4*>(from) : uint4{0, 0, 0, 0};
#endif
}
DEVICE void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

// Four matrices of 8 x 8 halves from shared memory: lane l gives where row l % 8 of matrix l / 8 begins. With g = l / 4
// and t = l % 4 * 2 it gets of each matrix the halves (g, t) and (g, t + 1); across, (t, g) and (t + 1, g).
DEVICE void load_matrices(uint32_t (&out)[4], const uint16_t* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(row))
               : "memory");
}
DEVICE void load_matrices_across(uint32_t (&out)[4], const uint16_t* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
               : "r"(shared_address(row))
               : "memory");
}

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
#define KERNEL_IN_BLOCKS(name, threads, blocks, Arguments) KERNEL(name, threads, Arguments)
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
inline uint32_t round_to_halves(float low, float high) {
  return float_to_half(low) | static_cast<uint32_t>(float_to_half(high)) << 16;
}
inline void copy_async(void* to, const void* from, bool there) { simt::copy_async(to, there ? from : nullptr, 16); }
inline void wait_for_copies() { simt::wait_for_copies(); }
inline void load_matrices(uint32_t (&out)[4], const uint16_t* row) {
  simt::load_matrices(out, row, false, SIMT_SITE("ldmatrix"));
}
inline void load_matrices_across(uint32_t (&out)[4], const uint16_t* row) {
  simt::load_matrices(out, row, true, SIMT_SITE("ldmatrix.trans"));
}

inline void multiply_halves(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  simt::multiply_16x8x16(sums, a, b, half_to_float, SIMT_SITE("mma"));
}

}  // namespace llmos::cuda

#endif

namespace llmos::cuda {

inline constexpr unsigned all_lanes = 0xffffffffu;
inline constexpr float log2_of_e = 1.44269504f;

template <typename Number>
DEVICE Number warp_sum(Number value) {
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
template <typename Number>
DEVICE Number block_sum(Number value) {
  SHARED(Number, parts, warp_lanes);
  value = warp_sum(value);
  if (threadIdx.x % warp_lanes == 0) parts[threadIdx.x / warp_lanes] = value;
  __syncthreads();
  const unsigned warps = blockDim.x / warp_lanes, lane = threadIdx.x % warp_lanes;
  return warp_sum(lane < warps ? parts[lane] : Number{0});
}

// By what floats are divided so that they are halves: a power of two that brings the largest near 1024, so that none
// overflows and small ones keep their digits.
DEVICE float half_scale(float largest) {
  const float power = bits_to_float(float_to_bits(largest) & 0x7f800000u);
  return power > 1e-30f ? power / 1024 : 1.0f;
}

// Activations, by their number in backend/types.hpp.
DEVICE float activate(float x, unsigned activation) {
  if (activation == 0) return x / (1.0f + expf(-x));
  const float inner = 0.7978845608f * x * (x * x * 0.044715f + 1.0f);
  return 0.5f * x * (1.0f + tanhf(inner));
}

}  // namespace llmos::cuda
