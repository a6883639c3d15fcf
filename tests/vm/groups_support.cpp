// SPDX-License-Identifier: MIT
#include <sys/mount.h>
#include <sys/vfs.h>

#include <cstring>
#include <sstream>

#include "groups.hpp"

namespace llmos::guest {

// ---- devices ----

template <typename Args>
static Args for_device(const std::string& id) {
  auto args = sized<Args>();
  memcpy(args.id, id.data(), std::min(id.size(), sizeof(args.id)));  // unterminated when too long
  return args;
}

llmos_device_args device_args(const std::string& id, uint64_t memory, uint32_t slots) {
  auto args = for_device<llmos_device_args>(id);
  args.memory = memory;
  args.slots = slots;
  return args;
}

int device_add(const std::string& id, uint64_t memory, uint32_t slots) {
  auto args = device_args(id, memory, slots);
  return command(device(), LLMOS_DEVICE_ADD, args);
}

int device_remove(const std::string& id) {
  auto args = device_args(id);
  return command(device(), LLMOS_DEVICE_REMOVE, args);
}

std::string device_file(const std::string& id, const std::string& name) { return devices_dir + "/" + id + "/" + name; }

SimulatedDevice::SimulatedDevice(std::string id, uint64_t memory, uint32_t slots) : id_(std::move(id)) {
  if (device_add(id_, memory, slots)) throw_errno("adding device " + id_);
}

SimulatedDevice::~SimulatedDevice() { device_remove(id_); }

// ---- charges ----

llmos_charge charge_args(const std::string& id, uint64_t bytes) {
  auto args = for_device<llmos_charge>(id);
  args.bytes = bytes;
  return args;
}

int charge_create(const std::string& id, uint64_t bytes, llmos_charge* result) {
  auto args = charge_args(id, bytes);
  const int fd = command(device(), LLMOS_CHARGE_CREATE, args);
  if (result) *result = args;
  return fd;
}

int charge_set(int fd, uint64_t bytes, llmos_charge* result) {
  auto args = sized<llmos_charge>();
  args.bytes = bytes;
  const int status = command(fd, LLMOS_CHARGE_SET, args);
  if (result) *result = args;
  return status;
}

llmos_charge charge_stat(int fd) {
  auto args = sized<llmos_charge>();
  if (command(fd, LLMOS_CHARGE_STAT, args)) throw_errno("CHARGE_STAT");
  return args;
}

Fd charge(const std::string& id, uint64_t bytes) {
  Fd fd(charge_create(id, bytes));
  if (fd < 0) throw_errno("charging " + std::to_string(bytes) + " bytes of " + id);
  return fd;
}

// ---- groups ----

std::string control(const std::string& cgroup, const std::string& name) {
  const std::string root = "/sys/fs/cgroup";
  return groups_dir + cgroup.substr(root.size()) + "/" + name;
}

std::string line_of(const std::string& path, const std::string& id) {
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with(id + " ")) return line.substr(id.size() + 1);
  return "";
}

uint64_t bytes_of(const std::string& path, const std::string& id) {
  const std::string text = line_of(path, id);
  return text == "max" ? UINT64_MAX : std::stoull(text);
}

uint64_t event_of(const Cgroup& cgroup, const std::string& id, const std::string& name) {
  std::istringstream words(line_of(control(cgroup, "memory.events"), id));
  for (std::string word; words >> word;)
    if (word.starts_with(name + "=")) return std::stoull(word.substr(name.size() + 1));
  throw std::runtime_error("no event " + name);
}

void mount_groups() {
  struct statfs fs;
  if (statfs(groups_dir.c_str(), &fs)) throw_errno(groups_dir);
  if (fs.f_type != LLMOS_GROUPS_MAGIC && mount("none", groups_dir.c_str(), LLMOS_GROUPS_FSTYPE, 0, nullptr))
    throw_errno("mounting " + groups_dir);
}

void GroupTest::SetUp() {
  ModuleTest::SetUp();
  mount_groups();
}

}  // namespace llmos::guest
