// SPDX-License-Identifier: MIT
// Lets the caller of a long call watch it, on its own thread.
#pragma once

#include <llmos/llmos.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

namespace llmos::core {

// Set when the caller wishes a phase to end.
using Cancelled = std::atomic<bool>;

// Runs `work(cancelled)` and tells options.progress how many of `total` bytes `done()` says are done: first, ten times
// a second, and last. Rethrows what `work` throws. True: a call wished to cancel.
template <typename Work, typename Done>
bool watched(const llmos_model_options& options, int phase, uint64_t total, Work work, Done done) {
  Cancelled cancelled{false};
  if (!options.progress) {
    work(cancelled);
    return false;
  }
  auto tell = [&](uint64_t bytes) {
    if (options.progress(options.context, phase, std::min(bytes, total), total) != 0) cancelled = true;
  };

  tell(0);
  std::mutex lock;
  std::condition_variable ended;
  bool over = false;
  std::exception_ptr failure;
  std::thread worker([&] {
    try {
      work(cancelled);
    } catch (...) {
      failure = std::current_exception();
    }
    std::lock_guard guard(lock);
    over = true;
    ended.notify_one();
  });

  std::unique_lock guard(lock);
  while (!ended.wait_for(guard, std::chrono::milliseconds(100), [&] { return over; })) {
    guard.unlock();
    tell(done());
    guard.lock();
  }
  guard.unlock();
  worker.join();
  if (failure) std::rethrow_exception(failure);
  tell(total);
  return cancelled;
}

}  // namespace llmos::core
