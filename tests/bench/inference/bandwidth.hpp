// SPDX-License-Identifier: MIT
// How fast this machine reads memory: the limit of a token, which reads every weight once.
#pragma once

#include <cstddef>
#include <span>

#include "system/thread_pool.hpp"

namespace llmos::bench {

// Private memory in huge pages, filled so that it is there.
class HugeMemory {
 public:
  explicit HugeMemory(size_t bytes);
  ~HugeMemory();
  HugeMemory(const HugeMemory&) = delete;
  HugeMemory& operator=(const HugeMemory&) = delete;
  std::span<std::byte> bytes() const { return {data_, bytes_}; }

 private:
  std::byte* reserved_;
  std::byte* data_;
  size_t bytes_;
};

// All threads read memory several times as large as the last cache.
class ReadProbe {
 public:
  explicit ReadProbe(unsigned threads);

  // GB/s of the fastest pass, among them some of one, two, four and eight streams a thread, with prefetching and
  // without. Called again, it does better or repeats what it knows.
  double best();

 private:
  core::ThreadPool pool_;
  HugeMemory memory_;
  double best_ = 0;
};

}  // namespace llmos::bench
