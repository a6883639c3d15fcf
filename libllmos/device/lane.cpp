// SPDX-License-Identifier: MIT
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "device/device.hpp"
#include "system/error.hpp"

namespace llmos::core {
// Not again after a signal: who waits decides about that.
int lane_turn(int lane, unsigned long request, llmos_lane_turn& turn) {
  turn.size = sizeof(turn);
  return ::ioctl(lane, request, &turn) < 0 ? errno : 0;
}

std::string lane_refusal(int code) {
  switch (code) {
    case EAGAIN:
      return "the lane waits for its turn: poll its descriptor";
    case ETIMEDOUT:
      return "the lane's turn did not come in time";
    case EINTR:
      return "a signal ended the lane's wait for a turn";
    case EBUSY:
      return "the lane has a turn already";
    case EALREADY:
      return "another thread waits on this lane";
    case ECANCELED:
      return "the lane's wait for a turn was cancelled";
    case ENOENT:
      return "the lane does not wait for a turn";
    case EPERM:
      return "the lane has no turn";
    case ESTALE:
      return "the lane's turn was taken away: it was not collected, or nothing was reported for too long (claim_ms and "
             "stall_ms in /sys/fs/llmos/lanes)";
    case ENODEV:
      return "the lane's device was removed";
    case EINVAL:
      return "the kernel does not know these flags or times of a turn";
  }
  return fmt::format("the command on the lane failed: {}", std::strerror(code));
}

int lane_open(llmos_lane_create lane) {
  lane.size = sizeof(lane);
  const Fd device = open_devices();
  const int fd = device_command(device.get(), LLMOS_LANE_CREATE, &lane);
  if (fd >= 0) return fd;
  switch (errno) {
    case ENODEV:
      fail(ENODEV, "there is no device \"{}\"; \"llmosctl device ls\" lists those there are", lane.device);
    case ENOSPC:
      fail(ENOSPC, "the machine has as many lanes as /sys/fs/llmos/lanes/max allows");
    case EINVAL:
      fail(EINVAL,
           "a lane named \"{}\" with weight {} on device \"{}\" cannot be made: names are of letters, digits "
           "and \"._+@:=-\", weights 1 to 10000",
           lane.name, lane.weight, lane.device);
  }
  fail_errno(fmt::format("cannot make a lane on device \"{}\"", lane.device));
}

struct llmos_lane_stat lane_stat(int lane) {
  struct llmos_lane_stat stat {};
  stat.size = sizeof(stat);
  if (device_command(lane, LLMOS_LANE_STAT, &stat) < 0) fail_errno("cannot ask the lane for its state");
  return stat;
}

}  // namespace llmos::core
