// SPDX-License-Identifier: MIT
#include "bandwidth.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

#include "system/error.hpp"

namespace llmos::bench {
namespace {

using core::ThreadPool;
using Clock = std::chrono::steady_clock;
typedef uint64_t Words __attribute__((vector_size(64)));

constexpr size_t huge_page = size_t{2} << 20, line = 64, prefetch_distance = 2048;

// Four times the last cache, and a gigabyte at least.
size_t probe_bytes() {
  const long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
  const size_t wanted = std::max<size_t>(size_t{1} << 30, cache > 0 ? 4 * static_cast<size_t>(cache) : 0);
  return (wanted + huge_page - 1) / huge_page * huge_page;
}

template <unsigned kStreams, bool kPrefetch>
uint64_t read_part(const std::byte* first, size_t bytes) {
  const size_t part = bytes / kStreams / line * line;
  Words sum[kStreams] = {};
  for (size_t at = 0; at < part; at += line)
    for (unsigned stream = 0; stream < kStreams; stream++) {
      const std::byte* source = first + stream * part + at;
      if constexpr (kPrefetch) __builtin_prefetch(source + prefetch_distance);
      Words words;
      std::memcpy(&words, source, sizeof words);
      sum[stream] += words;
    }
  uint64_t total = 0;
  for (const Words& words : sum)
    for (int i = 0; i < 8; i++) total += words[i];
  return total;
}

using Read = uint64_t (*)(const std::byte* first, size_t bytes);
constexpr Read reads[] = {read_part<1, false>, read_part<1, true>, read_part<2, false>, read_part<2, true>,
                          read_part<4, false>, read_part<4, true>, read_part<8, false>, read_part<8, true>};

}  // namespace

HugeMemory::HugeMemory(size_t bytes) : bytes_(bytes) {
  const size_t reserved = bytes + huge_page;
  void* const memory = mmap(nullptr, reserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) core::fail_errno("memory for the read bandwidth");
  reserved_ = static_cast<std::byte*>(memory);
  data_ = reserved_ + (huge_page - reinterpret_cast<uintptr_t>(memory) % huge_page) % huge_page;
  madvise(data_, bytes, MADV_HUGEPAGE);
  std::memset(data_, 1, bytes);
}

HugeMemory::~HugeMemory() { munmap(reserved_, bytes_ + huge_page); }

ReadProbe::ReadProbe(unsigned threads) : pool_(threads), memory_(probe_bytes()) {}

double ReadProbe::best() {
  const ThreadPool::Burst burst(pool_);
  for (const Read read : reads) {
    std::vector<uint64_t> sums(pool_.size());
    const size_t part = memory_.bytes().size() / pool_.size() / line * line;
    const auto start = Clock::now();
    pool_.run([&](unsigned thread) { sums[thread] = read(memory_.bytes().data() + thread * part, part); });
    const double took = std::chrono::duration<double>(Clock::now() - start).count();
    const volatile uint64_t kept = sums[0];  // the reading is not left out
    (void)kept;
    best_ = std::max(best_, static_cast<double>(part * pool_.size()) / took / 1e9);
  }
  return best_;
}

}  // namespace llmos::bench
