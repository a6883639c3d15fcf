// SPDX-License-Identifier: MIT
// Address space that unmaps itself, aligned so that the kernel can use 2 MiB pages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace llmos::core {

inline constexpr size_t kHugePage = size_t{2} << 20;

class Mapping {
 public:
  Mapping() = default;
  // Maps `size` bytes of `fd`, shared, at an address that is a multiple of 2 MiB; `protection` as of mmap(2).
  // Throws Failure with mmap's errno.
  Mapping(int fd, size_t size, int protection);
  Mapping(Mapping&& other) noexcept
      : reserved_(std::exchange(other.reserved_, {})), data_(std::exchange(other.data_, {})) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(reserved_, other.reserved_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Mapping();

  std::span<std::byte> bytes() const { return data_; }
  explicit operator bool() const { return !data_.empty(); }

 private:
  std::span<std::byte> reserved_;  // what was asked of the kernel, alignment slack included
  std::span<std::byte> data_;
};

// Bytes of [data, data + size) that are mapped by 2 MiB pages here and now, as /proc/self/smaps tells.
uint64_t huge_bytes(const std::byte* data);

}  // namespace llmos::core
