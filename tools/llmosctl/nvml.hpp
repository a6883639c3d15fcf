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

  uint64_t memory(const std::string& pci_address) const;  // bytes; throws when NVML does not know the device

 private:
  template <typename Function>
  Function find(const char* name) const;
  void* library_;
};

}  // namespace llmosctl
