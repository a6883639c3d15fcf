// SPDX-License-Identifier: MIT
// The way of data between host and device: a ring of pinned memory, so that copies run beside the host's work, and of
// bounded size however much goes through it.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "cuda/device.hpp"

namespace llmos::cuda {

class Staging {
 public:
  static constexpr size_t segment_bytes = 1 << 20, segments = 4;

  explicit Staging(Device& device);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Up to `want` bytes of pinned memory, at least 256 of them when so many are wanted; waits until the device has read
  // what was there before. To be filled, and then given to send() before anything else is called.
  std::span<std::byte> room(size_t want);
  void send(std::span<const std::byte> filled, Address to);

  void upload(const void* from, size_t bytes, Address to);  // returns before the copy is done
  void download(Address from, size_t bytes, void* to);      // after everything issued before

 private:
  struct Segment {
    EventHandle copied = nullptr;
    bool in_use = false;  // copies out of it may be running
  };
  void next_segment();
  void close() noexcept;

  Device& device_;
  std::byte* memory_ = nullptr;
  Segment ring_[segments];
  size_t current_ = 0, used_ = 0;  // bytes of the current segment
};

}  // namespace llmos::cuda
