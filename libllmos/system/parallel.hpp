// SPDX-License-Identifier: MIT
// Work that a few threads share, item by item. For loading and digesting; the engine has threads of its own.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace llmos::core {

// CPUs this process may run on, at least 1.
unsigned usable_cpus();

// Works on every item below `items`, on up to `threads` threads (the caller is one): each thread makes a worker of its
// own by `make_worker()` and calls `worker(item)`. Returns when all have ended. The first exception stops the handing
// out of items and is rethrown here.
template <typename MakeWorker>
void parallel_for(uint64_t items, unsigned threads, MakeWorker make_worker) {
  std::atomic<uint64_t> next{0};
  std::exception_ptr failure;
  std::mutex failure_lock;

  auto run = [&] {
    try {
      auto worker = make_worker();
      for (uint64_t item; (item = next.fetch_add(1)) < items;) worker(item);
    } catch (...) {
      std::lock_guard guard(failure_lock);
      if (!failure) failure = std::current_exception();
      next = items;
    }
  };

  std::vector<std::thread> others;
  try {
    for (uint64_t i = 1; i < threads && i < items; ++i) others.emplace_back(run);
  } catch (const std::system_error&) {
    // Fewer threads than wished for do the same work.
  }
  run();
  for (std::thread& other : others) other.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace llmos::core
