// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "device/device.hpp"
#include "store/device.hpp"
#include "system/error.hpp"

namespace llmos::core {
namespace {

namespace fs = std::filesystem;

constexpr char kDevicesPath[] = "/sys/fs/llmos/devices";

std::string word(const fs::path& path) {
  std::string text;
  std::ifstream(path) >> text;
  return text;
}

uint64_t number(const fs::path& path) {
  const std::string text = word(path);
  if (text == "max") return LLMOS_DEVICE_MEMORY_UNKNOWN;
  return text.empty() ? 0 : std::strtoull(text.c_str(), nullptr, 10);  // empty: removed just now
}

void put(char* to, size_t size, const std::string& text) {
  std::memset(to, 0, size);
  text.copy(to, size - 1);
}

llmos_device_info info_of(const fs::path& folder) {
  llmos_device_info info{};
  put(info.id, sizeof(info.id), folder.filename());
  put(info.kind, sizeof(info.kind), word(folder / "kind"));
  info.memory = number(folder / "memory");
  info.memory_current = number(folder / "memory.current");
  info.slots = static_cast<uint32_t>(number(folder / "slots"));
  std::ifstream lanes(folder / "lanes.stat");
  uint64_t value;
  for (std::string key; lanes >> key >> value;) {
    if (key == "running") info.running = static_cast<uint32_t>(value);
    if (key == "waiting") info.waiting = static_cast<uint32_t>(value);
    if (key == "used_usec") info.used_ns = value * 1000;
    if (key == "overruns") info.overruns = value;
    if (key == "lost") info.lost = value;
  }
  return info;
}

void change(unsigned long request, llmos_device_args& args, const std::string& id, const char* what) {
  args.size = sizeof(args);
  put_device_id(args.id, id);
  if (device_command(open_devices().get(), request, &args) == 0) return;
  switch (errno) {
    case EPERM: fail(EPERM, "cannot {} device \"{}\": only an administrator (CAP_SYS_ADMIN) may", what, id);
    case ENODEV: fail(ENODEV, "there is no device \"{}\"; \"llmosctl device ls\" lists those there are", id);
    case EEXIST: fail(EEXIST, "there is a device \"{}\" already", id);
    case EBUSY: fail(EBUSY, "device \"{}\" was found by the system, and goes only with its hardware", id);
  }
  fail_errno(fmt::format("cannot {} device \"{}\"", what, id));
}

}  // namespace

int device_command(int fd, unsigned long request, void* argument) {
  int result;
  do result = ::ioctl(fd, request, argument);
  while (result < 0 && errno == EINTR);
  return result;
}

Fd open_devices() {
  { const Device known; }  // says in words what is wrong
  Fd fd(::open(kDevicePath, O_RDWR | O_CLOEXEC));
  if (!fd) fail_errno(fmt::format("cannot open {}", kDevicePath));
  llmos_query query{};
  query.size = sizeof(query);
  query.abi = LLMOS_ABI_VERSION;
  query.features = LLMOS_FEATURE_DEVICES;
  if (device_command(fd.get(), LLMOS_QUERY, &query) < 0)
    fail(EOPNOTSUPP, "the llmos module that is loaded knows no devices: load a newer one");
  return fd;
}

void put_device_id(char (&field)[LLMOS_DEVICE_ID_SIZE], const std::string& id) {
  if (id.empty() || id.size() >= sizeof(field))
    fail(EINVAL, "\"{}\" is no device's id: it has 1 to {} characters", id, sizeof(field) - 1);
  put(field, sizeof(field), id);
}

std::vector<llmos_device_info> devices() {
  std::error_code error;
  std::vector<llmos_device_info> found;
  for (const auto& entry : fs::directory_iterator(kDevicesPath, error)) found.push_back(info_of(entry.path()));
  if (error)
    fail(ENODEV, "there is no {}: the llmos module is not loaded, or too old (try \"modprobe llmos\")", kDevicesPath);
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return std::strcmp(a.id, b.id) < 0; });
  return found;
}

void device_add(const std::string& id, uint64_t memory, uint32_t slots) {
  llmos_device_args args{};
  args.memory = memory;
  args.slots = slots;
  change(LLMOS_DEVICE_ADD, args, id, "add");
}

void device_remove(const std::string& id) {
  llmos_device_args args{};
  change(LLMOS_DEVICE_REMOVE, args, id, "remove");
}

void device_set(const std::string& id, uint64_t memory, uint32_t slots) {
  llmos_device_args args{};
  args.mask = (memory ? LLMOS_DEVICE_SET_MEMORY : 0) | (slots ? LLMOS_DEVICE_SET_SLOTS : 0);
  args.memory = memory;
  args.slots = slots;
  change(LLMOS_DEVICE_SET, args, id, "change");
}

}  // namespace llmos::core
