// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include "system/thread_pool.hpp"

namespace llmos::core {
namespace {

TEST(ThreadPool, RunsEveryThreadOnceAndWaitsForAll) {
  for (const unsigned threads : {1u, 2u, 3u, 8u}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (int round = 0; round < 300; round++) {
      std::vector<int> counts(threads);  // not atomic: a thread sanitizer sees whether run() orders
      if (round % 2) {
        const ThreadPool::Burst burst(pool);
        pool.run([&](unsigned thread) { counts[thread]++; });
      } else {
        pool.run([&](unsigned thread) { counts[thread]++; });
      }
      EXPECT_EQ(counts, std::vector<int>(threads, 1));
    }
  }
}

TEST(ThreadPool, SlicesCoverEverythingOnce) {
  for (const size_t count : {0, 1, 31, 32, 33, 100, 4096})
    for (const size_t grain : {1, 32})
      for (const unsigned threads : {1u, 2u, 3u, 7u}) {
        size_t next = 0;
        for (unsigned thread = 0; thread < threads; thread++) {
          const Slice part = slice(count, grain, thread, threads);
          EXPECT_EQ(part.first, next);
          EXPECT_GE(part.last, part.first);
          EXPECT_TRUE(part.last == count || part.last % grain == 0);
          next = part.last;
        }
        EXPECT_EQ(next, count);
      }
}

double cpu_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

TEST(ThreadPool, SleepsBetweenBursts) {
  ThreadPool pool(4);
  {
    const ThreadPool::Burst burst(pool);
    pool.run([](unsigned) {});
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // let them fall asleep
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_LT(cpu_seconds() - before, 0.05);
}

TEST(FlushDenormals, OnEveryThreadWhileABurstLastsAndNotAfter) {
  ThreadPool pool(3);
  const auto is_flushed = [] {
    volatile float tiny = 1e-30f, denormal = 1e-40f;
    return tiny * 1e-10f == 0 && denormal * 1e20f == 0;  // as a result, and as an operand
  };
  EXPECT_FALSE(is_flushed());
  {
    const ThreadPool::Burst burst(pool);
    std::vector<char> flushed(3);
    pool.run([&](unsigned thread) { flushed[thread] = is_flushed(); });
    EXPECT_EQ(flushed, std::vector<char>(3, 1));
  }
  EXPECT_FALSE(is_flushed());
}

}  // namespace
}  // namespace llmos::core
