// SPDX-License-Identifier: MIT
// Devices, charges, groups and lanes of the kernel module.
#pragma once

#include <llmos/llmos.h>

#include <iosfwd>
#include <string>
#include <vector>

#include "system/fd.hpp"

namespace llmos::core {

// /dev/llmos, negotiated for devices; throws ENODEV, EACCES, EPROTO, EOPNOTSUPP.
Fd open_devices();
int device_command(int fd, unsigned long request, void* argument);  // again after a signal
void put_device_id(char (&field)[LLMOS_DEVICE_ID_SIZE], const std::string& id);

std::vector<llmos_device_info> devices();
void device_add(const std::string& id, uint64_t memory, uint32_t slots);
void device_remove(const std::string& id);
void device_set(const std::string& id, uint64_t memory, uint32_t slots);

int charge_open(const std::string& device, uint64_t bytes, uint64_t* group);
void charge_set(int fd, uint64_t bytes, uint64_t* group);

int lane_open(llmos_lane_create lane);
// One of LLMOS_LANE_ACQUIRE, _YIELD, _RELEASE, _CANCEL: 0, or the errno, which is often no failure.
int lane_turn(int lane, unsigned long request, llmos_lane_turn& turn);
std::string lane_refusal(int code);  // in words
struct llmos_lane_stat lane_stat(int lane);

struct LaneOfProcess {
  struct llmos_lane_stat lane;
  pid_t pid;
};
std::vector<LaneOfProcess> lanes();
struct llmos_lane_stat read_lane_fdinfo(std::istream& in);

std::string group_read(const std::string& group, const std::string& control);
void group_write(const std::string& group, const std::string& control, const std::string& lines);

}  // namespace llmos::core
