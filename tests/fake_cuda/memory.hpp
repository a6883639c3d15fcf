// SPDX-License-Identifier: MIT
// The fake device's memory: inaccessible except while a stream works.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>

#include "cuda/driver_api.hpp"

namespace fake_cuda {

class DeviceMemory {
 public:
  ~DeviceMemory() { clear(); }

  void set_capacity(size_t bytes) { capacity_ = bytes; }
  size_t capacity() const { return capacity_; }
  size_t bytes() const { return used_; }
  size_t blocks() const { return blocks_.size(); }

  // 0: there is no room. The block begins at a multiple of 256 and ends, but for that, at an inaccessible page.
  llmos::cuda::Address allocate(size_t bytes) {
    if (bytes > capacity_ - used_) return 0;
    const size_t rounded = (bytes + 255) / 256 * 256, pages = (rounded + page - 1) / page * page;
    auto* mapping = static_cast<std::byte*>(
        mmap(nullptr, pages + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (mapping == MAP_FAILED) return 0;
    std::byte* const begin = mapping + pages - rounded;
    std::memset(begin, fresh, bytes);
    std::memset(begin + bytes, guard, rounded - bytes);
    mprotect(mapping, pages + page, PROT_NONE);
    const auto address = reinterpret_cast<llmos::cuda::Address>(begin);
    blocks_[address] = {bytes, rounded, mapping, pages};
    used_ += bytes;
    return address;
  }

  // False: there is no such block. Says in `violation` what is wrong with its end.
  bool release(llmos::cuda::Address address, std::string& violation) {
    const auto found = blocks_.find(address);
    if (found == blocks_.end()) return false;
    const Block& block = found->second;
    mprotect(block.mapping, block.pages, PROT_READ);
    const auto* begin = reinterpret_cast<const unsigned char*>(address);
    for (size_t i = block.bytes; i < block.rounded; i++)
      if (begin[i] != guard)
        violation = "a block of " + std::to_string(block.bytes) + " bytes was written beyond its end";
    munmap(block.mapping, block.pages + page);
    used_ -= block.bytes;
    blocks_.erase(found);
    return true;
  }

  bool holds(llmos::cuda::Address address, size_t bytes) const {
    const auto after = blocks_.upper_bound(address);
    if (after == blocks_.begin()) return false;
    const auto& [begin, block] = *std::prev(after);
    return address + bytes <= begin + block.bytes;
  }

  void clear() {
    for (const auto& [address, block] : blocks_) munmap(block.mapping, block.pages + page);
    blocks_.clear();
    used_ = 0;
  }

  // Accessible while it lives.
  class Open {
   public:
    explicit Open(DeviceMemory& memory) : memory_(memory) { memory.protect(PROT_READ | PROT_WRITE); }
    ~Open() { memory_.protect(PROT_NONE); }
    Open(const Open&) = delete;
    Open& operator=(const Open&) = delete;

   private:
    DeviceMemory& memory_;
  };

 private:
  static constexpr size_t page = 4096;
  static constexpr int fresh = 0xCB, guard = 0xEE;

  struct Block {
    size_t bytes, rounded;
    std::byte* mapping;
    size_t pages;
  };

  void protect(int protection) {
    for (const auto& [address, block] : blocks_) mprotect(block.mapping, block.pages, protection);
  }

  size_t capacity_ = 0, used_ = 0;
  std::map<llmos::cuda::Address, Block> blocks_;
};

}  // namespace fake_cuda
