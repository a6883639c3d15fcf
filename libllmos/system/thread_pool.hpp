// SPDX-License-Identifier: MIT
// The threads of one engine. Workers spin while a burst of work lasts and sleep otherwise, so that nothing sleeps
// inside a token (a futex costs as much as a small matrix) and nothing spins between requests.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace llmos::core {

// Treats denormal floats as zero on the calling thread for as long as it lives: denormal scales halve a kernel's speed.
class FlushDenormals {
 public:
  FlushDenormals();
  ~FlushDenormals();
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  uint64_t saved_;
};

class ThreadPool {
 public:
  // `threads` counts the caller of run(), which works as thread 0; 0 means one per CPU this process may use. With `pin`
  // every worker (never the caller) is bound to one CPU, nodes filled in order. Fails with EAGAIN when threads are
  // refused.
  explicit ThreadPool(unsigned threads, bool pin = false);
  ~ThreadPool();  // in a process forked from the pool's, too, which has no threads to end
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  unsigned size() const { return static_cast<unsigned>(workers_.size()) + 1; }

  // While one lives, workers spin instead of sleeping and the constructing thread flushes denormals.
  class Burst {
   public:
    explicit Burst(ThreadPool& pool) : pool_(pool) { pool_.bursts_.fetch_add(1, std::memory_order_relaxed); }
    ~Burst() { pool_.bursts_.fetch_sub(1, std::memory_order_relaxed); }
    Burst(const Burst&) = delete;
    Burst& operator=(const Burst&) = delete;

   private:
    ThreadPool& pool_;
    FlushDenormals denormals_;
  };

  // Calls work(thread) for every thread in [0, size()) at once and returns when all have returned. `work` must not
  // throw and must not call run(). One caller at a time.
  template <typename Work>
  void run(const Work& work) {
    dispatch({[](const void* context, unsigned thread) { (*static_cast<const Work*>(context))(thread); }, &work});
  }

 private:
  struct Job {
    void (*call)(const void* context, unsigned thread) = nullptr;
    const void* context = nullptr;
  };

  void dispatch(Job job);
  void stop();  // ends the workers
  void work(unsigned thread);
  uint32_t wait_for_job(uint32_t seen) const;

  const pid_t process_;
  std::vector<std::jthread> workers_;
  Job job_;
  bool stopping_ = false;
  alignas(64) std::atomic<uint32_t> epoch_{0};       // counts jobs; workers wait for it to change
  alignas(64) std::atomic<uint32_t> unfinished_{0};  // workers still at the present job
  alignas(64) std::atomic<uint32_t> bursts_{0};
};

// The half-open part of [0, count) that falls to `thread` of `threads`, in multiples of `grain` (the last may be
// short).
struct Slice {
  size_t first, last;
};
inline Slice slice(size_t count, size_t grain, unsigned thread, unsigned threads) {
  const size_t grains = (count + grain - 1) / grain;
  const size_t first = grains * thread / threads * grain, last = grains * (thread + 1) / threads * grain;
  return {first < count ? first : count, last < count ? last : count};
}

}  // namespace llmos::core
