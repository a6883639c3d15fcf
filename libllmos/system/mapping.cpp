// SPDX-License-Identifier: MIT
#include "system/mapping.hpp"

#include <sys/mman.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "system/error.hpp"

namespace llmos::core {

Mapping::Mapping(int fd, size_t size, int protection) {
  const size_t reserved = size + kHugePage;
  void* start = ::mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (start == MAP_FAILED) fail_errno(fmt::format("cannot reserve {} bytes of address space", reserved));
  reserved_ = {static_cast<std::byte*>(start), reserved};

  const auto address = reinterpret_cast<uintptr_t>(start);
  auto* aligned = reserved_.data() + (kHugePage - address % kHugePage) % kHugePage;
  if (::mmap(aligned, size, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
    const int code = errno;
    ::munmap(start, reserved);
    errno = code;
    fail_errno(fmt::format("cannot map {} bytes", size));
  }
  data_ = {aligned, size};
}

Mapping::~Mapping() {
  if (!reserved_.empty()) ::munmap(reserved_.data(), reserved_.size());
}

uint64_t huge_bytes(const std::byte* data) {
  std::ifstream smaps("/proc/self/smaps");
  const std::string start = fmt::format("{:x}-", reinterpret_cast<uintptr_t>(data));
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    unsigned long kilobytes = 0;
    if (!inside)
      inside = line.starts_with(start);
    else if (std::sscanf(line.c_str(), "ShmemPmdMapped: %lu kB", &kilobytes) == 1)
      return uint64_t{kilobytes} << 10;
    else if (line.starts_with("VmFlags:"))
      break;
  }
  return 0;
}

}  // namespace llmos::core
