// SPDX-License-Identifier: MIT
// Devices, charges and groups of the kernel module.
#pragma once

#include <llmos/llmos.h>

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

std::string group_read(const std::string& group, const std::string& control);
void group_write(const std::string& group, const std::string& control, const std::string& lines);

}  // namespace llmos::core
