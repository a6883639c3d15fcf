// SPDX-License-Identifier: MIT
// A file descriptor that closes itself, and reads and writes that finish what they begin.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace llmos::core {

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// Reads until `bytes` is full or the file ends; returns what arrived, or -1 with errno.
ssize_t pread_all(int fd, std::span<std::byte> bytes, uint64_t offset);
ssize_t read_all(int fd, std::span<std::byte> bytes);

// Writes everything; returns 0, or -1 with errno.
int pwrite_all(int fd, std::span<const std::byte> bytes, uint64_t offset);

}  // namespace llmos::core
