// SPDX-License-Identifier: MIT
// A device that maps dma-bufs and pins memory, by the module of tests/vm/importer.
#pragma once

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "guest.hpp"
#include "importer/importer.h"
#include "system.hpp"

namespace llmos::guest {

inline void load_importer() {
  if (!exists(IMPORTER_DEVICE)) must_shell("modprobe llmos-importer && udevadm settle");
}

class Importer {
 public:
  Importer() : fd_(open(IMPORTER_DEVICE, O_RDWR | O_CLOEXEC)) {
    if (fd_ < 0) throw_errno(IMPORTER_DEVICE);
  }

  // These return what the driver's calls return.
  int attach(int dmabuf) { return ioctl(fd_, IMPORTER_ATTACH, static_cast<unsigned long>(dmabuf)); }
  int map(uint32_t direction = IMPORTER_TO_DEVICE) {
    mapped = {direction, 0, 0};
    return ioctl(fd_, IMPORTER_MAP, &mapped);
  }
  int unmap() { return ioctl(fd_, IMPORTER_UNMAP); }
  int detach() { return ioctl(fd_, IMPORTER_DETACH); }
  int pin(const std::byte* address, uint64_t length, uint32_t flags = IMPORTER_PIN_LONGTERM) {
    importer_pin args = {reinterpret_cast<uint64_t>(address), length, flags, 0};
    return ioctl(fd_, IMPORTER_PIN, &args);
  }
  int unpin() { return ioctl(fd_, IMPORTER_UNPIN); }
  void close() { fd_.close(); }

  // The offset of the first byte that the device sees otherwise than the pattern has it.
  std::optional<uint64_t> differs(uint64_t length, uint64_t seed = 0) const {
    return pattern_differs_in(fd_, length, seed);
  }
  std::vector<std::byte> read(uint64_t offset, uint64_t length) const {
    std::vector<std::byte> out(length);
    out.resize(std::max<ssize_t>(pread(fd_, out.data(), length, static_cast<off_t>(offset)), 0));
    return out;
  }
  uint64_t frame(uint64_t offset) const {
    importer_frame args = {offset, 0};
    if (ioctl(fd_, IMPORTER_FRAME, &args)) throw_errno("IMPORTER_FRAME");
    return args.frame;
  }

  importer_map mapped = {};

 private:
  Fd fd_;
};

}  // namespace llmos::guest
