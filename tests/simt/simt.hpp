// SPDX-License-Identifier: MIT
// CUDA kernels on the host: one fiber for each CUDA thread. What is written for the GPU is compiled as C++ with this
// header in place of CUDA's, and simt::launch() runs it block by block.
//
// It finds what a GPU would get wrong silently: barriers that not every thread of a block reaches, or at different
// lines; shuffles that not every named lane joins; missing barriers, as results that change with the order in which
// threads run (fifo, lifo, random); shared memory read before it is written (filled with 0xCB for every block), also by
// asynchronous copies that nobody waited for;
// misaligned vector loads; accesses out of bounds under the address sanitizer. Each ends the launch with a Fault.
//
// What it does not have: the warp's lock step, time, caches, or any limit of registers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <type_traits>

struct uint3 {
  unsigned x, y, z;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace simt {

class Fault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

enum class Order { fifo, lifo, random };

struct Schedule {
  Order order = Order::fifo;
  uint32_t seed = 1;
  unsigned workers = 2;  // OS threads that blocks are spread over, where there are enough of them
};

inline constexpr unsigned most_threads = 1024;         // of a block
inline constexpr size_t most_shared_bytes = 48 << 10;  // of a block's static shared memory
inline constexpr size_t most_exchanged_bytes = 16;     // of a shuffled value

// Runs `body` in every thread of the grid. Thread-safe.
void launch(dim3 grid, dim3 block, const std::function<void()>& body, const Schedule& schedule = {});

// ---- What kernels use, by the names below ----

// A place in the source; one for each barrier or shuffle.
struct Site {
  const char* file;
  int line;
  const char* what;
};

struct Coordinates {
  uint3 thread, block;
  dim3 threads, blocks;
  unsigned lane;
};
extern constinit thread_local const Coordinates* here_now;  // of the thread that runs
inline const Coordinates& here() { return *here_now; }

void block_barrier(const Site& site);
// All lanes of `mask` give a value; afterwards slot i holds lane i's until this lane's next exchange.
using Slots = const std::byte (*)[most_exchanged_bytes];
Slots exchange(unsigned mask, const void* value, size_t bytes, const Site& site);
void* shared(const Site& site, size_t bytes);
[[noreturn]] void misaligned(const void* address, size_t bytes);

// The twin of cp.async: copies when this thread waits, not before; zeros when `from` is nullptr.
void copy_async(void* to, const void* from, size_t bytes);
void wait_for_copies();

template <typename Value>
Value shuffle(unsigned mask, Value value, unsigned from, const Site& site) {
  static_assert(std::is_trivially_copyable_v<Value> && sizeof(Value) <= most_exchanged_bytes);
  const Slots slots = exchange(mask, &value, sizeof value, site);
  if (!(mask >> (from & 31) & 1))
    throw Fault("a shuffle reads lane " + std::to_string(from & 31) + ", outside its mask");
  Value result;
  std::memcpy(&result, slots[from & 31], sizeof result);
  return result;
}

// The twin of mma.m16n8k16 with halves: all lanes of a warp give their parts of a and b and get their sums. Sums of
// floats in the order of the columns; a GPU's are of about that precision, in an order of its own.
template <typename ToFloat>
void multiply_16x8x16(float (&sums)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const ToFloat& to_float,
                      const Site& site) {
  const unsigned group = here().lane / 4, pair = here().lane % 4 * 2;
  float rows[2][16], columns[2][16];
  const auto unpack = [&](uint32_t word, float* to) {
    to[0] = to_float(static_cast<uint16_t>(word));
    to[1] = to_float(static_cast<uint16_t>(word >> 16));
  };
  Slots slots = exchange(0xffffffffu, &a, sizeof a, site);
  for (unsigned t = 0; t < 4; t++)
    for (unsigned i = 0; i < 4; i++) {
      uint32_t word;
      std::memcpy(&word, slots[group * 4 + t] + i * 4, sizeof word);
      unpack(word, rows[i % 2] + t * 2 + i / 2 * 8);
    }
  slots = exchange(0xffffffffu, &b, sizeof b, site);
  for (unsigned n = 0; n < 2; n++)
    for (unsigned t = 0; t < 4; t++)
      for (unsigned i = 0; i < 2; i++) {
        uint32_t word;
        std::memcpy(&word, slots[(pair + n) * 4 + t] + i * 4, sizeof word);
        unpack(word, columns[n] + t * 2 + i * 8);
      }
  for (unsigned i = 0; i < 4; i++)
    for (unsigned k = 0; k < 16; k++) sums[i] += rows[i / 2][k] * columns[i % 2][k];
}

// The twin of ldmatrix for four matrices: lane l says where row l % 8 of matrix l / 8 is.
inline void load_matrices(uint32_t (&out)[4], const uint16_t* row, bool across, const Site& site) {
  if (reinterpret_cast<uintptr_t>(row) % 16 != 0) misaligned(row, 16);
  const unsigned group = here().lane / 4, pair = here().lane % 4 * 2;
  const Slots slots = exchange(0xffffffffu, &row, sizeof row, site);
  for (unsigned m = 0; m < 4; m++) {
    out[m] = 0;
    for (unsigned i = 0; i < 2; i++) {
      const uint16_t* from;
      std::memcpy(&from, slots[m * 8 + (across ? pair + i : group)], sizeof from);
      out[m] |= static_cast<uint32_t>(from[across ? group : pair + i]) << 16 * i;
    }
  }
}

inline unsigned ballot(unsigned mask, bool predicate, const Site& site) {
  const Slots slots = exchange(mask, &predicate, sizeof predicate, site);
  unsigned result = 0;
  for (unsigned i = 0; i < 32; i++)
    if ((mask >> i & 1) && static_cast<bool>(slots[i][0])) result |= 1u << i;
  return result;
}

template <typename Value>
Value load(const void* address) {
  if (reinterpret_cast<uintptr_t>(address) % sizeof(Value) != 0) misaligned(address, sizeof(Value));
  Value value;
  std::memcpy(&value, address, sizeof value);
  return value;
}

}  // namespace simt

#define SIMT_SITE(what)                                     \
  ([]() -> const simt::Site& {                              \
    static const simt::Site site{__FILE__, __LINE__, what}; \
    return site;                                            \
  }())

#define threadIdx (simt::here().thread)
#define blockIdx (simt::here().block)
#define blockDim (simt::here().threads)
#define gridDim (simt::here().blocks)
#define __syncthreads() simt::block_barrier(SIMT_SITE("__syncthreads"))
#define __syncwarp(mask) static_cast<void>(simt::ballot(mask, true, SIMT_SITE("__syncwarp")))
#define __shfl_sync(mask, value, from) simt::shuffle(mask, value, from, SIMT_SITE("__shfl_sync"))
#define __shfl_xor_sync(mask, value, bits) \
  simt::shuffle(mask, value, simt::here().lane ^ static_cast<unsigned>(bits), SIMT_SITE("__shfl_xor_sync"))
#define __ballot_sync(mask, predicate) simt::ballot(mask, predicate, SIMT_SITE("__ballot_sync"))

template <typename Number>
Number atomicAdd(Number* address, Number value) {
  if constexpr (std::is_floating_point_v<Number>) {
    Number old, sum;
    __atomic_load(address, &old, __ATOMIC_RELAXED);
    do sum = old + value;
    while (!__atomic_compare_exchange(address, &old, &sum, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return old;
  } else {
    return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
  }
}

template <typename Number>
Number atomicCAS(Number* address, Number expected, Number value) {
  __atomic_compare_exchange_n(address, &expected, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}

template <typename Number>
Number atomicMax(Number* address, Number value) {
  Number old = __atomic_load_n(address, __ATOMIC_RELAXED);
  while (old < value && !__atomic_compare_exchange_n(address, &old, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
  return old;
}
