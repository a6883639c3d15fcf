// SPDX-License-Identifier: MIT
// What the SIMT shim promises: kernels that are right give the right result in every order, each kind of wrong kernel
// is found.
#include "simt/simt.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <string>
#include <vector>

#define SHARED(type, name, count) \
  auto* const name = static_cast<type*>(simt::shared(SIMT_SITE("shared " #name), (count) * sizeof(type)))

namespace {

constexpr unsigned all = 0xffffffffu;

std::vector<simt::Schedule> schedules() {
  std::vector<simt::Schedule> some{{simt::Order::fifo}, {simt::Order::lifo}};
  for (uint32_t seed = 1; seed <= 8; seed++) some.push_back({simt::Order::random, seed});
  return some;
}

float warp_sum(float value) {
  for (int bits = 16; bits; bits >>= 1) value += __shfl_xor_sync(all, value, bits);
  return value;
}

// The sum over a block, in every thread; without its barrier when `wrong`.
float block_sum(float value, bool wrong = false) {
  SHARED(float, parts, 32);
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  if (!wrong) __syncthreads();
  return warp_sum(threadIdx.x % 32 < blockDim.x / 32 ? parts[threadIdx.x % 32] : 0.0f);
}

std::vector<float> sums_of_blocks(const simt::Schedule& schedule, bool wrong) {
  std::vector<float> sums(4 * 256);
  simt::launch(
      4, 256,
      [&] { sums[blockIdx.x * 256 + threadIdx.x] = block_sum(static_cast<float>(threadIdx.x + blockIdx.x), wrong); },
      schedule);
  return sums;
}

std::string fault_of(unsigned threads, const std::function<void()>& kernel, const simt::Schedule& schedule = {}) {
  try {
    simt::launch(1, threads, kernel, schedule);
  } catch (const simt::Fault& fault) {
    return fault.what();
  }
  return "none";
}

#define EXPECT_FAULT(part, ...)                                               \
  for (const simt::Schedule& schedule : schedules()) {                        \
    const std::string found = fault_of(__VA_ARGS__, schedule);                \
    EXPECT_NE(found.find(part), std::string::npos) << "the fault: " << found; \
  }

TEST(Simt, GivesEveryThreadItsCoordinatesOnce) {
  for (const simt::Schedule& schedule : schedules()) {
    std::vector<int> seen(3 * 2 * 2 * 5 * 7);
    simt::launch(
        dim3(3, 2, 2), dim3(5, 7),
        [&] {
          EXPECT_EQ(gridDim.y, 2u);
          EXPECT_EQ(blockDim.y, 7u);
          const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
          atomicAdd(&seen[(block * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x], 1);
        },
        schedule);
    EXPECT_EQ(seen, std::vector<int>(seen.size(), 1));
  }
}

TEST(Simt, BarriersAndShufflesGiveTheSameSumInEveryOrder) {
  for (const simt::Schedule& schedule : schedules()) {
    const std::vector<float> sums = sums_of_blocks(schedule, false);
    for (unsigned i = 0; i < sums.size(); i++) ASSERT_EQ(sums[i], 255 * 128 + 256 * (i / 256));
  }
}

TEST(Simt, MissingBarrierShowsInSomeOrder) {
  unsigned wrong = 0;
  for (const simt::Schedule& schedule : schedules())
    wrong += sums_of_blocks(schedule, true) != sums_of_blocks(schedule, false);
  EXPECT_GE(wrong, schedules().size() - 1);
}

TEST(Simt, ShufflesOfPartsOfAWarpAreApart) {
  for (const simt::Schedule& schedule : schedules())
    simt::launch(
        2, 64,
        [&] {
          const unsigned lane = threadIdx.x % 32, mask = lane < 8 ? 0xffu : ~0xffu;
          for (int round = 0; round < 5; round++) {
            EXPECT_EQ(__shfl_sync(mask, static_cast<int>(threadIdx.x) + round, lane < 8 ? 3u : 20u),
                      static_cast<int>(threadIdx.x / 32 * 32 + (lane < 8 ? 3u : 20u)) + round);
            if (lane < 8) __syncwarp(mask);
          }
          EXPECT_EQ(__ballot_sync(all, lane % 2), 0xaaaaaaaau);
        },
        schedule);
}

TEST(Simt, AtomicsOfManyBlocksOnSeveralThreadsLoseNothing) {
  int sum = 0, most = 0;
  float floats = 0;
  simt::launch(200, 256,
               [&] {
                 atomicAdd(&sum, 1);
                 atomicAdd(&floats, 0.5f);
                 atomicMax(&most, static_cast<int>(blockIdx.x * 256 + threadIdx.x));
               },
               {simt::Order::fifo, 1, 4});
  EXPECT_EQ(sum, 200 * 256);
  EXPECT_EQ(floats, 100 * 256);
  EXPECT_EQ(most, 200 * 256 - 1);
  EXPECT_EQ(atomicCAS(&sum, 200 * 256, 7), 200 * 256);
  EXPECT_EQ(sum, 7);
}

TEST(Simt, SharedMemoryIsPoisonedForEveryBlock) {
  simt::launch(3, 32, [&] {
    SHARED(uint32_t, words, 32);
    EXPECT_EQ(words[threadIdx.x], 0xcbcbcbcbu);
    __syncwarp(all);
    words[threadIdx.x] = 1;
  });
}

TEST(Simt, AsynchronousCopiesAreThereOnceWaitedForAndNotBefore) {
  alignas(16) uint32_t from[64 * 4];
  std::iota(std::begin(from), std::end(from), 1u);
  for (const simt::Schedule& schedule : schedules())
    simt::launch(
        2, 64,
        [&] {
          SHARED(uint4, to, 64);
          simt::copy_async(to + threadIdx.x, threadIdx.x % 3 ? from + threadIdx.x * 4 : nullptr, 16);
          EXPECT_EQ(to[threadIdx.x].w, 0xcbcbcbcbu);
          simt::wait_for_copies();
          __syncthreads();
          const unsigned other = 63 - threadIdx.x;
          EXPECT_EQ(to[other].w, other % 3 ? other * 4 + 4 : 0);
        },
        schedule);
}

// Half (row, column) of matrix m is m * 64 + row * 8 + column; rows lie in reverse, with gaps.
TEST(Simt, MatricesFromSharedMemoryGoWhereTheTensorCoresWantThem) {
  for (const simt::Schedule& schedule : schedules())
    simt::launch(
        1, 32,
        [&] {
          SHARED(uint4, memory, 32 * 2);
          auto* const halves = reinterpret_cast<uint16_t*>(memory);
          const unsigned lane = threadIdx.x, group = lane / 4, pair = lane % 4 * 2;
          uint16_t* const row = halves + (31 - lane) * 16;
          for (unsigned i = 0; i < 8; i++) row[i] = static_cast<uint16_t>(lane * 8 + i);
          __syncwarp(all);
          for (const bool across : {false, true}) {
            uint32_t out[4];
            simt::load_matrices(out, row, across, SIMT_SITE("ldmatrix"));
            for (unsigned m = 0; m < 4; m++)
              for (unsigned i = 0; i < 2; i++)
                EXPECT_EQ(out[m] >> 16 * i & 0xffff, m * 64 + (across ? (pair + i) * 8 + group : group * 8 + pair + i));
          }
        },
        schedule);
}

TEST(SimtFinds, CopiesThatAreNotWaitedFor) {
  alignas(16) std::byte memory[64] = {};
  const auto copy = [&](size_t offset) {
    SHARED(uint4, to, 32);
    simt::copy_async(to + threadIdx.x, memory + offset, 16);
  };
  EXPECT_FAULT("did not wait", 32, [&] { copy(16); });
  EXPECT_FAULT("misaligned", 32, [&] { copy(8); });
}

TEST(SimtFinds, BarrierThatHalfABlockSkips) {
  EXPECT_FAULT("__syncthreads", 64, [] {
    if (threadIdx.x < 32) __syncthreads();
  });
}

TEST(SimtFinds, BarriersAtDifferentLines) {
  EXPECT_FAULT("while others are in", 64, [] {
    if (threadIdx.x < 32)
      __syncthreads();
    else
      __syncthreads();
  });
}

TEST(SimtFinds, BarrierAfterSomeThreadsHaveEnded) {
  EXPECT_FAULT("ended", 64, [] {
    if (threadIdx.x == 40) return;
    __syncthreads();
  });
}

TEST(SimtFinds, ShuffleThatALaneDoesNotJoin) {
  EXPECT_FAULT("wait for one another", 32, [] {
    if (threadIdx.x == 5)
      __syncthreads();
    else
      __shfl_xor_sync(all, 1, 1);
  });
}

TEST(SimtFinds, ShuffleAfterALaneHasEnded) {
  EXPECT_FAULT("ended", 32, [] {
    if (threadIdx.x == 5) return;
    __shfl_xor_sync(all, 1, 1);
  });
}

TEST(SimtFinds, MaskOfLanesThatAreNotThereOrLeavesOutItsCaller) {
  EXPECT_FAULT("not there", 16, [] { __shfl_xor_sync(all, 1, 1); });
  EXPECT_FAULT("leaves out", 32, [] { __shfl_xor_sync(2u, 1, 1); });
  EXPECT_FAULT("outside its mask", 32, [] { __shfl_sync(1u << threadIdx.x, 1, 31 - threadIdx.x); });
}

TEST(SimtFinds, MisalignedLoads) {
  alignas(16) std::byte memory[64] = {};
  EXPECT_FAULT("misaligned", 32, [&] { simt::load<uint4>(memory + 8); });
  EXPECT_EQ(fault_of(32, [&] { simt::load<uint4>(memory + 16); }), "none");
}

TEST(SimtFinds, TooMuchSharedMemoryAndLaunchesThatNoDeviceTakes) {
  EXPECT_FAULT("48 KiB", 32, [] {
    SHARED(float, first, 8192);
    SHARED(float, second, 8192);
    first[0] = second[0] = 0;
  });
  EXPECT_NE(fault_of(1025, [] {}), "none");
  EXPECT_NE(fault_of(0, [] {}), "none");
}

TEST(SimtFinds, FaultInOneOfManyBlocksAndRunsOnAfterwards) {
  EXPECT_THROW(simt::launch(500, 64,
                            [] {
                              if (blockIdx.x == 77 && threadIdx.x == 3) throw simt::Fault("found");
                              __syncthreads();
                            }),
               simt::Fault);
  sums_of_blocks({}, false);
}

#if defined(__SANITIZE_ADDRESS__)
TEST(SimtDeathTest, SharedArrayOverrunIsSeenByTheSanitizer) {
  EXPECT_DEATH(simt::launch(1, 32,
                            [] {
                              SHARED(float, values, 32);
                              volatile float* place = values + threadIdx.x + 1;
                              *place = 1;
                            }),
               "heap-buffer-overflow");
}
#endif

}  // namespace
