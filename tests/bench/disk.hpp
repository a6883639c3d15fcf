// SPDX-License-Identifier: MIT
// Reading a file with O_DIRECT and many requests in flight, as LLMOS_MODEL_FILL does, but into memory of this process.
#pragma once

#include <cstddef>
#include <span>

#include "../vm/ring.hpp"

namespace llmos::bench {

inline constexpr size_t request_size = 2 << 20;  // what FILL asks for at a time: one huge page
inline constexpr unsigned queue_depth = 16;      // what FILL keeps in flight by default

// io_uring, with the memory registered beforehand where that is possible: the most that a disk gives to a process.
class DirectReader {
 public:
  explicit DirectReader(std::span<std::byte> memory);  // aligned to 4096
  ~DirectReader();
  DirectReader(const DirectReader&) = delete;
  DirectReader& operator=(const DirectReader&) = delete;

  void read(int fd);                                   // memory.size() bytes from the file's begin

 private:
  std::span<std::byte> memory_;
  guest::Ring ring_;
  bool registered_;
};

}  // namespace llmos::bench
