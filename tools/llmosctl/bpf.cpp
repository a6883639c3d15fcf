// SPDX-License-Identifier: MIT
#include "bpf.hpp"

#include <fmt/format.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <llmos/llmos.hpp>
#include <vector>

namespace llmosctl {
namespace {

long bpf(bpf_cmd command, bpf_attr& attributes) { return ::syscall(SYS_bpf, command, &attributes, sizeof(attributes)); }

uint64_t address(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

// A pinned map, and how large its values are.
class PinnedMap {
 public:
  explicit PinnedMap(const std::string& path) {
    bpf_attr open{};
    open.pathname = address(path.c_str());
    fd_ = static_cast<int>(bpf(BPF_OBJ_GET, open));
    if (fd_ < 0) return;
    bpf_map_info info{};
    bpf_attr query{};
    query.info.bpf_fd = static_cast<uint32_t>(fd_);
    query.info.info_len = sizeof(info);
    query.info.info = address(&info);
    if (bpf(BPF_OBJ_GET_INFO_BY_FD, query) == 0) value_.resize(info.value_size);
  }
  PinnedMap(const PinnedMap&) = delete;
  PinnedMap& operator=(const PinnedMap&) = delete;
  ~PinnedMap() {
    if (fd_ >= 0) ::close(fd_);
  }

  bool is_number() const { return value_.size() >= sizeof(uint32_t); }
  bool run(bpf_cmd command) {
    const uint32_t zero = 0;
    bpf_attr element{};
    element.map_fd = static_cast<uint32_t>(fd_);
    element.key = address(&zero);
    element.value = address(value_.data());
    return is_number() && bpf(command, element) == 0;
  }
  const std::vector<std::byte>& value() const { return value_; }
  void set_number(uint32_t number) { std::memcpy(value_.data(), &number, sizeof(number)); }

 private:
  int fd_ = -1;
  std::vector<std::byte> value_;
};

}  // namespace

void mount_bpf() {
  struct statfs fs {};
  if (::statfs("/sys/fs/bpf", &fs) == 0 && fs.f_type == BPF_FS_MAGIC) return;
  if (::mount("bpf", "/sys/fs/bpf", "bpf", 0, nullptr))
    throw llmos::Error(errno, fmt::format("cannot mount the BPF filesystem on /sys/fs/bpf: {}", std::strerror(errno)));
}

bool read_pinned(const std::string& path, void* data, size_t size) {
  PinnedMap map(path);
  if (map.value().size() < size || !map.run(BPF_MAP_LOOKUP_ELEM)) return false;
  std::memcpy(data, map.value().data(), size);
  return true;
}

std::optional<uint32_t> read_pinned_number(const std::string& path) {
  uint32_t number;
  if (!read_pinned(path, &number, sizeof(number))) return std::nullopt;
  return number;
}

void write_pinned_number(const std::string& path, uint32_t number) {
  PinnedMap map(path);
  if (map.is_number()) map.set_number(number);
  if (!map.run(BPF_MAP_UPDATE_ELEM))
    throw llmos::Error(errno ? errno : EINVAL, fmt::format("cannot write to {}: {}", path, std::strerror(errno)));
}

}  // namespace llmosctl
