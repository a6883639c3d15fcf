// SPDX-License-Identifier: MIT
#include "nvml.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cerrno>
#include <llmos/llmos.hpp>

namespace llmosctl {
namespace {

constexpr char kLibrary[] = "libnvidia-ml.so.1";

// From nvml.h, whose ABI is stable: 0 is success, a device is a pointer.
struct Memory {
  unsigned long long total, free, used;
};
using Start = int (*)();
using HandleByPci = int (*)(const char* pci_address, void** device);
using MemoryInfo = int (*)(void* device, Memory* memory);
using ErrorString = const char* (*)(int error);

}  // namespace

template <typename Function>
Function Nvml::find(const char* name) const {
  void* symbol = ::dlsym(library_, name);
  if (!symbol) throw llmos::Error(ENOTSUP, fmt::format("{} has no {}: update the driver", kLibrary, name));
  return reinterpret_cast<Function>(symbol);
}

std::string Nvml::name(int error) const {
  void* name = ::dlsym(library_, "nvmlErrorString");
  return name ? reinterpret_cast<ErrorString>(name)(error) : fmt::format("error {}", error);
}

Nvml::Nvml() : library_(::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL)) {
  if (!library_)
    throw llmos::Error(ENOTSUP,
                       fmt::format("{} is not here to be asked: give the capacity in bytes instead", kLibrary));
  try {
    if (const int error = find<Start>("nvmlInit_v2")())
      throw llmos::Error(ENOTSUP, fmt::format("NVML does not start ({}): is the driver loaded?", name(error)));
  } catch (...) {
    ::dlclose(library_);
    throw;
  }
}

Nvml::~Nvml() {
  if (void* stop = ::dlsym(library_, "nvmlShutdown")) reinterpret_cast<Start>(stop)();
  ::dlclose(library_);
}

uint64_t Nvml::memory(const std::string& pci_address) const {
  void* device = nullptr;
  if (const int error = find<HandleByPci>("nvmlDeviceGetHandleByPciBusId_v2")(pci_address.c_str(), &device))
    throw llmos::Error(ENODEV, fmt::format("NVML does not know device \"{}\" ({})", pci_address, name(error)));
  Memory memory{};
  const int error = find<MemoryInfo>("nvmlDeviceGetMemoryInfo")(device, &memory);
  if (error || !memory.total)  // those that share the machine's memory have none of their own to tell of
    throw llmos::Error(EIO, fmt::format("NVML does not tell the memory of \"{}\"{}: give the capacity in bytes instead",
                                        pci_address, error ? " (" + name(error) + ")" : ""));
  return memory.total;
}

}  // namespace llmosctl
