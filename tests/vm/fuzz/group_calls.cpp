// SPDX-License-Identifier: MIT
// Devices, groups and charges.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "world.hpp"

namespace llmos::fuzz {

void device_id(Random& random, char (&out)[LLMOS_DEVICE_ID_SIZE]) {
  static const char* const bad[] = {"", ".", "default", "a/b", "nothing", "cpu\n"};
  if (random.chance(5)) {
    memset(out, static_cast<int>(random.next()), sizeof(out));
    if (random.chance(70)) strcpy(out, bad[random.below(6)]);
  } else if (random.chance(20)) {
    strcpy(out, "cpu");
  } else {
    snprintf(out, sizeof(out), "fuzz%u", static_cast<unsigned>(random.below(devices)));
  }
}

static uint64_t some_bytes(Random& random) { return random.mostly(random.below(16 * guest::MiB)); }

static long change_device(World& world, Random& random, unsigned long number, bool sized) {
  auto args = guest::sized<llmos_device_args>();
  device_id(random, args.id);
  args.mask = number == LLMOS_DEVICE_SET ? random.below(4) : random.mostly(0, 98);
  args.memory = sized ? random.pick<uint64_t>({64 * guest::MiB, LLMOS_DEVICE_MEMORY_UNKNOWN, random.garbage()}) : 0;
  args.slots = sized ? static_cast<uint32_t>(random.mostly(random.between(1, 4))) : 0;
  return result(ioctl(world.fd(random, Kind::device), number, &args));
}

static long add_device(World& world, Random& random) { return change_device(world, random, LLMOS_DEVICE_ADD, true); }
static long set_device(World& world, Random& random) { return change_device(world, random, LLMOS_DEVICE_SET, true); }
static long remove_device(World& world, Random& random) {
  return change_device(world, random, LLMOS_DEVICE_REMOVE, random.chance(2));
}

static llmos_charge charge_args(Random& random) {
  auto args = guest::sized<llmos_charge>();
  device_id(random, args.id);
  args.bytes = some_bytes(random);
  args.flags = static_cast<uint32_t>(random.mostly(0, 98));
  return args;
}

static long make_charge(World& world, Random& random) {
  auto args = charge_args(random);
  const int fd = ioctl(world.fd(random, Kind::device), LLMOS_CHARGE_CREATE, &args);
  return world.keep(random, Kind::charge, fd);
}

static long set_charge(World& world, Random& random) {
  auto args = charge_args(random);
  return result(ioctl(world.fd(random, Kind::charge), LLMOS_CHARGE_SET, &args));
}

static long stat_charge(World& world, Random& random) {
  auto args = charge_args(random);
  return result(ioctl(world.fd(random, Kind::charge), LLMOS_CHARGE_STAT, &args));
}

static std::string control_path(Random& random, size_t limits_percent) {
  const char* const controls[] = {"memory.max",     "memory.low",  "time.weight",   "time.max",
                                  "memory.current", "memory.peak", "memory.events", "time.stat",
                                  "models.current", ".",           "nothing"};
  const char* const folders[] = {"fuzz/0", "fuzz/1", "fuzz/2", "fuzz/3", "fuzz/0", "fuzz", ".", "nowhere"};
  return std::string("/sys/fs/llmos/groups/") + folders[random.below(8)] + "/" +
         controls[random.chance(limits_percent) ? random.below(4) : random.below(11)];
}

static long read_control(World& world, Random& random) {
  const std::string path = control_path(random, 0);
  const guest::Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return fd < 0 ? -errno : result(read(fd, world.buffer(random), random.below(World::buffer_size)));
}

// By the cgroup's directory, or another's.
static int open_by_directory(World& world, Random& random) {
  const std::string path = control_path(random, 50);
  const size_t slash = path.rfind('/'), from = sizeof("/sys/fs/llmos/groups") - 1;
  const guest::Fd directory(open(("/sys/fs/cgroup" + path.substr(from, slash - from)).c_str(), O_PATH | O_CLOEXEC));
  auto args = guest::sized<llmos_group_open>();
  args.flags = static_cast<uint32_t>(random.mostly(random.below(2), 98));
  args.cgroup_fd = random.chance(95) ? static_cast<int>(directory) : world.fd(random, Kind::model);
  path.copy(args.control, sizeof(args.control), slash + 1);
  return ioctl(world.fd(random, Kind::device), LLMOS_GROUP_OPEN, &args);
}

static long use_directory(World& world, Random& random) {
  const guest::Fd fd(open_by_directory(world, random));
  if (fd < 0) return -errno;
  if (random.chance(50)) write(fd, "fuzz0 1048576", 13);
  return result(read(fd, world.buffer(random), random.below(World::buffer_size)));
}

static long write_control(World&, Random& random) {
  const std::string path = control_path(random, 85);
  char id[LLMOS_DEVICE_ID_SIZE + 1] = {}, text[256];
  device_id(random, reinterpret_cast<char(&)[LLMOS_DEVICE_ID_SIZE]>(id));
  const unsigned long number = some_bytes(random), other = random.between(900, 1000100);
  switch (random.below(7)) {
    case 0:
      snprintf(text, sizeof(text), "%s max", id);
      break;
    case 1:
      snprintf(text, sizeof(text), "%s %lu %lu", id, number, other);
      break;
    case 2:
      snprintf(text, sizeof(text), "%s default\n", id);
      break;
    case 3:
      snprintf(text, sizeof(text), "default %lu", number % 12000);
      break;
    case 4:
      snprintf(text, sizeof(text), "%s %lu\ncpu max\n", id, number % 12000);
      break;
    default:
      snprintf(text, sizeof(text), "%s %lu", id, number);
      break;
  }
  const guest::Fd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd < 0 ? -errno : result(write(fd, text, random.mostly(strlen(text), 97) % sizeof(text)));
}

// Of devices, by those who may; of the module, by everyone.
static long write_device_file(World&, Random& random) {
  char id[LLMOS_DEVICE_ID_SIZE + 1] = {}, path[128], text[32];
  device_id(random, reinterpret_cast<char(&)[LLMOS_DEVICE_ID_SIZE]>(id));
  const bool memory = random.chance(50);
  snprintf(path, sizeof(path), "/sys/fs/llmos/devices/%s/%s", id, memory ? "memory" : "slots");
  const uint64_t capacity = random.pick<uint64_t>({64 * guest::MiB, LLMOS_DEVICE_MEMORY_UNKNOWN, random.garbage()});
  snprintf(text, sizeof(text), "%lu", memory ? capacity : random.mostly(random.between(1, 4)));
  const guest::Fd fd(open(path, O_WRONLY | O_CLOEXEC));
  return fd < 0 ? -errno : result(write(fd, text, strlen(text)));
}

static long read_module_file(World& world, Random& random) {
  static const char* const files[] = {"hooks/lane_key", "hooks/lane_slice", "hooks/evict_score", "hooks/admit",
                                      "hooks/available", "memory.max", "memory.current", "lanes/current", "version"};
  static const char* const of_devices[] = {"memory", "slots", "kind", "memory.current", "lanes.stat"};
  char id[LLMOS_DEVICE_ID_SIZE + 1] = {}, path[128];
  device_id(random, reinterpret_cast<char(&)[LLMOS_DEVICE_ID_SIZE]>(id));
  if (random.chance(50))
    snprintf(path, sizeof(path), "/sys/fs/llmos/%s", files[random.below(std::size(files))]);
  else
    snprintf(path, sizeof(path), "/sys/fs/llmos/devices/%s/%s", id, of_devices[random.below(std::size(of_devices))]);
  const guest::Fd fd(open(path, O_RDONLY | O_CLOEXEC));
  return fd < 0 ? -errno : result(read(fd, world.buffer(random), random.below(World::buffer_size)));
}

static long list_groups(World& world, Random& random) {
  const char* const folder = random.pick<const char*>({"", "/fuzz", "/fuzz/1", "/fuzz/3"});
  char path[64];
  snprintf(path, sizeof(path), "/sys/fs/llmos/groups%s", folder);
  const off_t at = static_cast<off_t>(random.mostly(random.below(20), 90));
  const guest::Fd fd(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd < 0) return -errno;
  if (random.chance(40)) lseek(fd, at, SEEK_SET);
  return result(
      syscall(SYS_getdents64, static_cast<int>(fd), world.buffer(random), random.mostly(random.below(2048), 98)));
}

std::vector<Call> group_calls() {
  return {
      {"add device", 10, add_device},          {"set device", 6, set_device},
      {"remove device", 8, remove_device},     {"charge", 30, make_charge},
      {"set charge", 30, set_charge},          {"stat of charge", 10, stat_charge},
      {"read control file", 20, read_control}, {"write control file", 30, write_control},
      {"write device file", 8, write_device_file}, {"read module file", 15, read_module_file},
      {"list groups", 10, list_groups},        {"control file by directory", 15, use_directory},
  };
}

}  // namespace llmos::fuzz
