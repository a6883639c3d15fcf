// SPDX-License-Identifier: MIT
// What NVIDIA's management library says of a device, where it is installed. Written after its documentation; it has
// never met real hardware.
#pragma once

#include <cstdint>
#include <string>

namespace llmosctl {

class Nvml {
 public:
  Nvml();  // throws llmos::Error with ENOTSUP when the library is not there or does not start
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;
  ~Nvml();

  // Bytes. Throws: ENODEV, NVML does not know the device; EIO, it does not tell; ENOTSUP, it is too old.
  uint64_t memory(const std::string& pci_address) const;

 private:
  template <typename Function>
  Function find(const char* name) const;
  std::string name(int error) const;
  void* library_;
};

}  // namespace llmosctl
