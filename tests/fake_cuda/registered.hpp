// SPDX-License-Identifier: MIT
// Memory of the host that is registered for the device. The device has it at another address, as a copy that it can
// only read; while a stream works, the host's own address is inaccessible, so that kernels that were given it fault.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>

#include "cuda/driver_api.hpp"

namespace fake_cuda {

// What the process may do with all of these pages: PROT_*; nothing where they are not all mapped alike.
inline std::optional<int> protection_of(const std::byte* begin, size_t bytes) {
  std::optional<int> protection;
  auto at = reinterpret_cast<uintptr_t>(begin);
  const uintptr_t end = at + bytes;
  std::FILE* maps = std::fopen("/proc/self/maps", "r");
  char line[512];
  while (at < end && std::fgets(line, sizeof line, maps)) {
    unsigned long first, last;
    char flags[8];
    if (std::sscanf(line, "%lx-%lx %7s", &first, &last, flags) != 3 || at < first || at >= last) continue;
    const int found = (flags[0] == 'r' ? PROT_READ : 0) | (flags[1] == 'w' ? PROT_WRITE : 0);
    if (protection && *protection != found) break;
    protection = found;
    at = last;
  }
  std::fclose(maps);
  return at >= end ? protection : std::nullopt;
}

class RegisteredMemory {
 public:
  ~RegisteredMemory() { clear(); }

  size_t count() const { return ranges_.size(); }

  llmos::cuda::Result add(std::byte* begin, size_t bytes, bool read_only) {
    using namespace llmos::cuda;
    if (bytes == 0 || reinterpret_cast<uintptr_t>(begin) % page || bytes % page) return invalid_value;
    for (const auto& [other, range] : ranges_)
      if (begin < other + range.bytes && other < begin + bytes) return already_registered;
    const std::optional<int> protection = protection_of(begin, bytes);
    if (!protection || !(*protection & PROT_READ)) return invalid_value;
    if (!read_only && !(*protection & PROT_WRITE)) return invalid_value;
    void* copy = mmap(nullptr, bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED) return out_of_memory;
    std::memcpy(copy, begin, bytes);
    mprotect(copy, bytes + page, PROT_NONE);
    ranges_[begin] = {bytes, static_cast<std::byte*>(copy), *protection};
    return success;
  }

  bool remove(std::byte* begin) {
    const auto found = ranges_.find(begin);
    if (found == ranges_.end()) return false;
    munmap(found->second.copy, found->second.bytes + page);
    ranges_.erase(found);
    return true;
  }

  // 0: it is not registered.
  llmos::cuda::Address on_device(const std::byte* place) const {
    const auto after = ranges_.upper_bound(const_cast<std::byte*>(place));
    if (after == ranges_.begin()) return 0;
    const auto& [begin, range] = *std::prev(after);
    return place < begin + range.bytes ? reinterpret_cast<llmos::cuda::Address>(range.copy + (place - begin)) : 0;
  }

  void clear() {
    while (!ranges_.empty()) remove(ranges_.begin()->first);
  }

  // While it lives the device has them, and not the host.
  class Open {
   public:
    explicit Open(RegisteredMemory& memory) : memory_(memory) {
      for (const auto& [begin, range] : memory_.ranges_) {
        mprotect(range.copy, range.bytes, PROT_READ);
        mprotect(begin, range.bytes, PROT_NONE);
      }
    }
    ~Open() {
      for (const auto& [begin, range] : memory_.ranges_) {
        mprotect(range.copy, range.bytes, PROT_NONE);
        mprotect(begin, range.bytes, range.protection);
      }
    }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;

   private:
    RegisteredMemory& memory_;
  };

 private:
  static constexpr size_t page = 4096;

  struct Range {
    size_t bytes;
    std::byte* copy;
    int protection;
  };
  std::map<std::byte*, Range> ranges_;
};

}  // namespace fake_cuda
