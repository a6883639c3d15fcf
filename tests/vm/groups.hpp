// SPDX-License-Identifier: MIT
// Devices, groups and charges for the tests that are about them.
#pragma once

#include <cstdint>
#include <string>

#include "guest.hpp"
#include "system.hpp"

namespace llmos::guest {

inline const std::string devices_dir = "/sys/fs/llmos/devices";
inline const std::string groups_dir = "/sys/fs/llmos/groups";

// ---- devices ----

llmos_device_args device_args(const std::string& id, uint64_t memory = 0, uint32_t slots = 0);
int device_add(const std::string& id, uint64_t memory = LLMOS_DEVICE_MEMORY_UNKNOWN, uint32_t slots = 1);
int device_remove(const std::string& id);
std::string device_file(const std::string& id, const std::string& name);

// A device that no bus knows, removed at the end.
class SimulatedDevice {
 public:
  explicit SimulatedDevice(std::string id, uint64_t memory = LLMOS_DEVICE_MEMORY_UNKNOWN, uint32_t slots = 1);
  SimulatedDevice(const SimulatedDevice&) = delete;
  SimulatedDevice& operator=(const SimulatedDevice&) = delete;
  ~SimulatedDevice();

  const std::string& id() const { return id_; }
  uint64_t current() const { return read_number(device_file(id_, "memory.current")); }

 private:
  std::string id_;
};

// ---- charges ----

llmos_charge charge_args(const std::string& id, uint64_t bytes);
int charge_create(const std::string& id, uint64_t bytes, llmos_charge* result = nullptr);  // a descriptor
int charge_set(int fd, uint64_t bytes, llmos_charge* result = nullptr);
llmos_charge charge_stat(int fd);
Fd charge(const std::string& id, uint64_t bytes);  // must work

// ---- groups ----

// The control file of a cgroup, by the path of its directory in /sys/fs/cgroup.
std::string control(const std::string& cgroup, const std::string& name);
inline std::string control(const Cgroup& cgroup, const std::string& name) { return control(cgroup.path(), name); }
// What the line of that device says in a control file; "" when there is none.
std::string line_of(const std::string& path, const std::string& id);
uint64_t bytes_of(const std::string& path, const std::string& id);  // "max" is UINT64_MAX
uint64_t event_of(const Cgroup& cgroup, const std::string& id, const std::string& name);

void mount_groups();  // where they are not yet

// The groups are mounted, and at the end no byte is charged that was not before.
class GroupTest : public ModuleTest {
 protected:
  void SetUp() override;
};

}  // namespace llmos::guest
