// SPDX-License-Identifier: MIT
// Devices, groups and charges. Part of llmos.hpp; device.h has the comments.
//
//   llmos::Charge memory("0000:01:00.0", 2ull << 30);  // given back when it goes out of scope
//   llmos::Group("system.slice/chat.service").set("memory.max", "0000:01:00.0", "8G");
#ifndef LLMOS_LLMOS_HPP
#error "include <llmos/llmos.hpp>"
#endif
#ifndef LLMOS_DEVICE_HPP
#define LLMOS_DEVICE_HPP

namespace llmos {

struct Device {
  static constexpr uint64_t unknown = LLMOS_DEVICE_MEMORY_UNKNOWN;

  std::string id, kind;
  uint64_t memory = unknown;
  uint64_t memory_current = 0;
  uint32_t slots = 1;
  uint32_t running = 0, waiting = 0;  // lanes that have a turn, that wait for one
  uint64_t used_ns = 0, overruns = 0, lost = 0;

  static std::vector<Device> list() {
    std::vector<Device> devices;
    detail::Callback callback([&](const llmos_device_info* info) {
      devices.push_back({info->id, info->kind, info->memory, info->memory_current, info->slots, info->running,
                         info->waiting, info->used_ns, info->overruns, info->lost});
      return true;
    });
    callback.finish(llmos_devices(callback.invoke<const llmos_device_info*>, &callback));
    return devices;
  }
  static void add(const std::string& id, uint64_t memory = unknown, uint32_t slots = 1) {
    detail::check(llmos_device_add(id.c_str(), memory, slots));
  }
  static void remove(const std::string& id) { detail::check(llmos_device_remove(id.c_str())); }
  // What is 0 stays.
  static void set(const std::string& id, uint64_t memory, uint32_t slots) {
    detail::check(llmos_device_set(id.c_str(), memory, slots));
  }
};

// Bytes of a device's memory, accounted to the cgroup that this process is in when it is made.
class Charge {
 public:
  Charge() = default;
  Charge(const std::string& device, uint64_t bytes)
      : fd_(detail::check(llmos_charge_open(device.c_str(), bytes, nullptr))), bytes_(bytes) {}
  Charge(Charge&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)), bytes_(std::exchange(other.bytes_, 0)) {}
  Charge& operator=(Charge&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Charge() {
    if (fd_ >= 0) ::close(fd_);
  }

  // All of it from now on. When that throws, it is as it was.
  void resize(uint64_t bytes) {
    detail::check(llmos_charge_set(fd_, bytes, nullptr));
    bytes_ = bytes;
  }
  uint64_t bytes() const noexcept { return bytes_; }
  int fd() const noexcept { return fd_; }

 private:
  int fd_ = -1;
  uint64_t bytes_ = 0;
};

// A cgroup, by its path below /sys/fs/cgroup.
class Group {
 public:
  explicit Group(std::string path) : path_(std::move(path)) {}
  const std::string& path() const noexcept { return path_; }

  std::string read(const std::string& control) const {
    std::string text(4096, '\0');
    for (;;) {
      const auto length = static_cast<size_t>(
          detail::check(llmos_group_read(path_.c_str(), control.c_str(), text.data(), text.size())));
      const bool fits = length < text.size();
      text.resize(fits ? length : length + 1);
      if (fits) return text;
    }
  }
  void write(const std::string& control, const std::string& lines) const {
    detail::check(llmos_group_write(path_.c_str(), control.c_str(), lines.c_str()));
  }
  void set(const std::string& control, const std::string& device, const std::string& value) const {
    write(control, device + " " + value);
  }

 private:
  std::string path_;
};

}  // namespace llmos

#endif  // LLMOS_DEVICE_HPP
