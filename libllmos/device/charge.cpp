// SPDX-License-Identifier: MIT
#include <cerrno>

#include "device/device.hpp"
#include "system/error.hpp"

namespace llmos::core {
namespace {

[[noreturn]] void fail_charge(const llmos_charge& charge) {
  const int code = errno;
  switch (code) {
    case EDQUOT:
      fail(code,
           "{} bytes of device \"{}\" are more than memory.max of a group leaves (the cgroup with inode number {}): "
           "\"llmosctl group show\" tells how much is in use",
           charge.bytes, charge.id, charge.refused);
    case ENOSPC: fail(code, "device \"{}\" has not {} bytes of memory left", charge.id, charge.bytes);
    case ENODEV: fail(code, "device \"{}\" is not there, or was removed", charge.id);
  }
  errno = code;
  fail_errno(fmt::format("cannot charge {} bytes of device \"{}\"", charge.bytes, charge.id));
}

}  // namespace

int charge_open(const std::string& device, uint64_t bytes, uint64_t* group) {
  llmos_charge charge{};
  charge.size = sizeof(charge);
  charge.bytes = bytes;
  put_device_id(charge.id, device);
  const int fd = device_command(open_devices().get(), LLMOS_CHARGE_CREATE, &charge);
  if (group) *group = charge.refused;
  if (fd < 0) fail_charge(charge);
  return fd;
}

void charge_set(int fd, uint64_t bytes, uint64_t* group) {
  llmos_charge charge{};
  charge.size = sizeof(charge);
  charge.bytes = bytes;
  const int result = device_command(fd, LLMOS_CHARGE_SET, &charge);
  if (group) *group = charge.refused;
  if (result < 0) fail_charge(charge);
}

}  // namespace llmos::core
