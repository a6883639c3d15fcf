// SPDX-License-Identifier: MIT
// The registry of devices: the CPU, what the PCI bus tells of, what administrators add.
#include <dirent.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <set>
#include <thread>

#include "groups.hpp"
#include "process.hpp"

namespace llmos::guest {
namespace {

using Devices = GroupTest;

std::set<std::string> list_devices() {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(devices_dir)) names.insert(entry.path().filename());
  return names;
}

TEST_F(Devices, CpuIsAlwaysThere) {
  EXPECT_EQ(read_file(device_file("cpu", "kind")), "cpu\n");
  EXPECT_EQ(read_number(device_file("cpu", "memory")), meminfo("MemTotal"));
  EXPECT_GE(read_number(device_file("cpu", "slots")), 1u);
  EXPECT_EQ(read_number(device_file("cpu", "memory.current")), 0u);
  EXPECT_ERRNO(EBUSY, device_remove("cpu"));
  EXPECT_TRUE(list_devices().contains("cpu"));
}

TEST_F(Devices, AddedOneIsThereUntilItIsRemoved) {
  const auto before = list_devices();
  {
    const SimulatedDevice device("sim0", 16 * MiB, 3);
    EXPECT_EQ(read_file(device_file("sim0", "kind")), "added\n");
    EXPECT_EQ(read_number(device_file("sim0", "memory")), 16 * MiB);
    EXPECT_EQ(read_number(device_file("sim0", "slots")), 3u);
    EXPECT_ERRNO(EEXIST, device_add("sim0"));
    EXPECT_EQ(list_devices().size(), before.size() + 1);
  }
  EXPECT_EQ(list_devices(), before);
  EXPECT_ERRNO(ENODEV, device_remove("sim0"));
}

TEST_F(Devices, UnknownCapacityIsMax) {
  const SimulatedDevice device("sim0");
  EXPECT_EQ(read_file(device_file("sim0", "memory")), "max\n");
}

TEST_F(Devices, CapacityAndSlotsAreSetByCallAndByFile) {
  const SimulatedDevice device("sim0", 16 * MiB, 1);
  auto args = device_args("sim0", 32 * MiB, 9);
  args.mask = LLMOS_DEVICE_SET_MEMORY;
  EXPECT_OK(command(llmos::guest::device(), LLMOS_DEVICE_SET, args));
  EXPECT_EQ(read_number(device_file("sim0", "memory")), 32 * MiB);
  EXPECT_EQ(read_number(device_file("sim0", "slots")), 1u) << "not in the mask";
  args.mask = LLMOS_DEVICE_SET_SLOTS;
  EXPECT_OK(command(llmos::guest::device(), LLMOS_DEVICE_SET, args));
  EXPECT_EQ(read_number(device_file("sim0", "slots")), 9u);

  must_write(device_file("sim0", "memory"), "1G");
  EXPECT_EQ(read_number(device_file("sim0", "memory")), 1024 * MiB);
  must_write(device_file("sim0", "slots"), "2");
  EXPECT_EQ(read_number(device_file("sim0", "slots")), 2u);
  for (const char* bad : {"0", "-1", "x", "4097", "1 1"})
    EXPECT_ERRNO(EINVAL, write_file(device_file("sim0", "slots"), bad)) << bad;
  EXPECT_ERRNO(EINVAL, write_file(device_file("sim0", "memory"), "lots"));
}

TEST_F(Devices, OnlyAnAdministratorChangesThem) {
  const SimulatedDevice device("sim0");
  EXPECT_ERRNO_AS(alice, EPERM, device_add("sim1"));
  EXPECT_ERRNO_AS(alice, EPERM, device_remove("sim0"));
  EXPECT_ERRNO_AS(alice, EPERM, [] {
    auto args = device_args("sim0", 1, 1);
    args.mask = LLMOS_DEVICE_SET_SLOTS;
    return command(llmos::guest::device(), LLMOS_DEVICE_SET, args);
  }());
  EXPECT_ERRNO_AS(alice, EACCES, write_file(device_file("sim0", "memory"), "1"));
  EXPECT_ERRNO_AS(alice, 0, open(device_file("sim0", "memory").c_str(), O_RDONLY));
  in_child([] {
    enter_user_namespace(0, 0);
    EXPECT_ERRNO(EPERM, device_add("sim1")) << "root of a user namespace is not this machine's";
  });
}

TEST_F(Devices, MalformedCallsAreRefused) {
  for (const char* bad : {"", ".", "..", "-x", "a/b", "a b", "default", "a\nb", "0123456789012345678901234567890123"})
    EXPECT_ERRNO(EINVAL, device_add(bad)) << bad;
  EXPECT_ERRNO(EINVAL, device_add("sim0", 1, 0)) << "no slot";
  EXPECT_ERRNO(EINVAL, device_add("sim0", 1, LLMOS_DEVICE_SLOTS_MAX + 1));
  EXPECT_ERRNO(EINVAL, device_add("sim0", 1ULL << 63));
  auto args = device_args("sim0", 1, 1);
  args.reserved = 1;
  EXPECT_ERRNO(EINVAL, command(device(), LLMOS_DEVICE_ADD, args));
  args = device_args("sim0", 1, 1);
  args.mask = 1;
  EXPECT_ERRNO(EINVAL, command(device(), LLMOS_DEVICE_ADD, args));
  args = device_args("cpu", 1, 1);
  args.mask = 4;
  EXPECT_ERRNO(EINVAL, command(device(), LLMOS_DEVICE_SET, args));
  EXPECT_FALSE(list_devices().contains("sim0"));
}

TEST_F(Devices, RemovalLosesNoChargeAndNoLimit) {
  const Cgroup group("llmos-removal");
  auto device = std::make_unique<SimulatedDevice>("sim0", 16 * MiB);
  must_write(control(group, "memory.max"), "sim0 8M");
  Child holder([&](Child::Parent& parent) {
    group.enter();
    const Fd held = charge("sim0", 4 * MiB);
    parent.tell();
    parent.wait();
    EXPECT_ERRNO(ENODEV, charge_set(held, 5 * MiB));
    EXPECT_ERRNO(ENODEV, Fd(charge_create("sim0", 0)));
    EXPECT_OK(charge_set(held, 3 * MiB)) << "less is always possible";
    parent.tell();
    parent.wait();
    EXPECT_ERRNO(EDQUOT, charge_set(held, 9 * MiB)) << "the limit is as it was";
    EXPECT_OK(charge_set(held, 6 * MiB));
    parent.tell();
    parent.wait();
  });
  holder.wait();
  device.reset();
  EXPECT_FALSE(list_devices().contains("sim0"));
  EXPECT_EQ(line_of(control(group, "memory.max"), "sim0"), "");
  EXPECT_ERRNO(ENODEV, write_file(control(group, "memory.max"), "sim0 1M"));
  holder.tell();
  holder.wait();

  device = std::make_unique<SimulatedDevice>("sim0", 16 * MiB);
  EXPECT_EQ(device->current(), 3 * MiB);
  EXPECT_EQ(bytes_of(control(group, "memory.max"), "sim0"), 8 * MiB);
  EXPECT_EQ(bytes_of(control(group, "memory.current"), "sim0"), 3 * MiB);
  holder.tell();
  holder.wait();
  EXPECT_EQ(device->current(), 6 * MiB);
  holder.tell();
  holder.join();
  EXPECT_EQ(device->current(), 0u);
}

std::string display_function() {
  for (const auto& entry : std::filesystem::directory_iterator("/sys/bus/pci/devices"))
    if (read_file(entry.path() / "class").starts_with("0x03")) return entry.path().filename();
  return "";
}

TEST_F(Devices, PciDisplayComesAndGoesWithTheBus) {
  const std::string id = display_function();
  if (id.empty()) GTEST_SKIP() << "no PCI display device (tools/vm --display)";
  EXPECT_EQ(read_file(device_file(id, "kind")), "pci\n");
  EXPECT_EQ(read_file(device_file(id, "memory")), "max\n") << "the bus does not tell";
  EXPECT_TRUE(read_file(device_file(id, "device/class")).starts_with("0x03"));
  EXPECT_ERRNO(EBUSY, device_remove(id)) << "only the bus removes it";

  for (int round = 0; round < 3; round++) {
    const Fd held = charge(id, MiB);
    must_write("/sys/bus/pci/devices/" + id + "/remove", "1");
    EXPECT_FALSE(exists(devices_dir + "/" + id));
    EXPECT_ERRNO(ENODEV, Fd(charge_create(id, 1)));
    EXPECT_EQ(charge_stat(held).bytes, MiB);
    must_write("/sys/bus/pci/rescan", "1");
    EXPECT_TRUE(exists(devices_dir + "/" + id));
    EXPECT_EQ(read_number(device_file(id, "memory.current")), MiB);
  }
  EXPECT_EQ(read_number(device_file(id, "memory.current")), 0u);
}

TEST_F(Devices, TooManyAreRefused) {
  int added = 0;
  while (device_add("many" + std::to_string(added)) == 0 && added < 5000) added++;
  EXPECT_EQ(errno, ENOSPC);
  EXPECT_GE(added, 1000);
  for (int i = 0; i < added; i++) EXPECT_OK(device_remove("many" + std::to_string(i)));
  EXPECT_OK(device_add("many0")) << "those that are gone take no room";
  EXPECT_OK(device_remove("many0"));
}

TEST_F(Devices, ComingAndGoingUnderReadersWritersAndChargers) {
  std::atomic<bool> stop = false;
  std::vector<std::thread> others;
  others.emplace_back([&] {
    while (!stop) write_file(device_file("sim0", "slots"), "2");
  });
  others.emplace_back([&] {
    while (!stop) write_file(groups_dir + "/llmos-flux/memory.max", "sim0 1M");
  });
  others.emplace_back([&] {
    while (!stop) shell("cat /sys/fs/llmos/devices/*/* /sys/fs/llmos/groups/memory.current 2>/dev/null");
  });
  others.emplace_back([&] {
    while (!stop) {
      const Fd fd(charge_create("sim0", 4096));
      if (fd >= 0) charge_set(fd, 8192);
    }
  });
  const Cgroup group("llmos-flux");
  for (int round = 0; round < 300; round++) {
    EXPECT_OK(device_add("sim0", 16 * MiB));
    EXPECT_OK(device_remove("sim0"));
  }
  stop = true;
  for (auto& thread : others) thread.join();
  const SimulatedDevice device("sim0");
  EXPECT_EQ(device.current(), 0u);
}

}  // namespace
}  // namespace llmos::guest
