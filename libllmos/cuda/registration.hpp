// SPDX-License-Identifier: MIT
// A model's bytes where they lie, registered with the driver: kernels read them over the bus, or, on a device that
// shares the host's memory, from that. Read-only, as the mapping of a model is.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "cuda/device.hpp"

namespace llmos::cuda {

// Engines of one process that use the same bytes share one registration.
class Registration {
 public:
  // ENOTSUP: this device cannot read read-only memory of the host.
  static void check_support(const Device& device);

  // The pages that the bytes lie on stay in memory while it lives. Fails as check() does.
  Registration(std::shared_ptr<Device> device, std::span<const std::byte> bytes);
  ~Registration();
  Registration(const Registration&) = delete;
  Registration& operator=(const Registration&) = delete;

  // Where the device finds what the host has at `place`.
  const std::byte* on_device(const std::byte* place) const { return base_ + (place - pages_.data()); }

 private:
  const std::shared_ptr<Device> device_;
  const std::span<const std::byte> pages_;
  const std::byte* base_ = nullptr;  // of the pages, for the device
};

}  // namespace llmos::cuda
