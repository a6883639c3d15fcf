// SPDX-License-Identifier: MIT
#include "system/fd.hpp"

#include <cerrno>

namespace llmos::core {
namespace {

// Repeats `once(done)` until it has moved `size` bytes, meets the end, or fails.
template <typename Once>
ssize_t repeat(size_t size, Once once) {
  size_t done = 0;
  while (done < size) {
    const ssize_t moved = once(done);
    if (moved > 0)
      done += static_cast<size_t>(moved);
    else if (moved == 0)
      break;
    else if (errno != EINTR)
      return -1;
  }
  return static_cast<ssize_t>(done);
}

}  // namespace

ssize_t pread_all(int fd, std::span<std::byte> bytes, uint64_t offset) {
  return repeat(bytes.size(), [&](size_t done) {
    return ::pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
  });
}

ssize_t read_all(int fd, std::span<std::byte> bytes) {
  return repeat(bytes.size(), [&](size_t done) { return ::read(fd, bytes.data() + done, bytes.size() - done); });
}

int pwrite_all(int fd, std::span<const std::byte> bytes, uint64_t offset) {
  const ssize_t done = repeat(bytes.size(), [&](size_t at) {
    return ::pwrite(fd, bytes.data() + at, bytes.size() - at, static_cast<off_t>(offset + at));
  });
  if (done < 0) return -1;
  if (static_cast<size_t>(done) == bytes.size()) return 0;
  errno = ENOSPC;
  return -1;
}

}  // namespace llmos::core
