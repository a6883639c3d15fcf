// SPDX-License-Identifier: MIT
#include "cuda/staging.hpp"

#include <algorithm>
#include <cstring>

#include "system/error.hpp"

namespace llmos::cuda {
namespace {

constexpr size_t unit = 256;  // pieces begin at multiples of this

}  // namespace

Staging::Staging(Device& device) : device_(device) {
  const Device::Current current(device_);
  const Driver& driver = device_.driver();
  try {
    void* memory = nullptr;
    check(driver.allocate_host(&memory, segments * segment_bytes, 0), "pin memory for copies");
    memory_ = static_cast<std::byte*>(memory);
    for (Segment& segment : ring_)
      check(driver.event_create(&segment.copied, event_disable_timing), "make an event for copies");
  } catch (...) {
    close();
    throw;
  }
}

Staging::~Staging() {
  try {
    const Device::Current current(device_);
    device_.driver().stream_synchronize(device_.stream());  // the device may still read the ring
    close();
  } catch (const core::Failure&) {  // the context is lost, and takes them with it
  }
}

void Staging::close() noexcept {
  const Driver& driver = device_.driver();
  for (Segment& segment : ring_)
    if (segment.copied) driver.event_destroy(segment.copied);
  if (memory_) driver.free_host(memory_);
}

void Staging::next_segment() {
  const Driver& driver = device_.driver();
  check(driver.event_record(ring_[current_].copied, device_.stream()), "mark a copy");
  ring_[current_].in_use = true;
  current_ = (current_ + 1) % segments;
  used_ = 0;
  if (!ring_[current_].in_use) return;
  check(driver.event_synchronize(ring_[current_].copied), "wait for a copy to the device");
  ring_[current_].in_use = false;
}

std::span<std::byte> Staging::room(size_t want) {
  if (segment_bytes - used_ < std::min(want, unit)) next_segment();
  return {memory_ + current_ * segment_bytes + used_, std::min(want, segment_bytes - used_)};
}

void Staging::send(std::span<const std::byte> filled, Address to) {
  used_ = std::min(segment_bytes, (used_ + filled.size() + unit - 1) / unit * unit);
  check(device_.driver().upload_async(to, filled.data(), filled.size(), device_.stream()), "copy to the device");
}

void Staging::upload(const void* from, size_t bytes, Address to) {
  for (const auto* source = static_cast<const std::byte*>(from); bytes > 0;) {
    const std::span<std::byte> place = room(bytes);
    std::memcpy(place.data(), source, place.size());
    send(place, to);
    source += place.size();
    to += place.size();
    bytes -= place.size();
  }
}

void Staging::download(Address from, size_t bytes, void* to) {
  next_segment();
  for (auto* target = static_cast<std::byte*>(to); bytes > 0;) {
    const size_t count = std::min(bytes, segment_bytes);
    std::byte* const place = memory_ + current_ * segment_bytes;
    check(device_.driver().download_async(place, from, count, device_.stream()), "copy from the device");
    device_.synchronize();
    std::memcpy(target, place, count);
    target += count;
    from += count;
    bytes -= count;
  }
}

}  // namespace llmos::cuda
