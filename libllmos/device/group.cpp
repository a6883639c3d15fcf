// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <cerrno>

#include "device/device.hpp"
#include "system/error.hpp"

namespace llmos::core {
namespace {

const std::string kGroupsPath = "/sys/fs/llmos/groups", kCgroupPath = "/sys/fs/cgroup";

bool is_on(const std::string& path, decltype(statfs::f_type) magic) {
  struct statfs fs;
  return ::statfs(path.c_str(), &fs) == 0 && fs.f_type == magic;
}

// By a descriptor of the cgroup's directory, wherever cgroup2 is mounted and whether the groups are or not.
Fd open_by_directory(const std::string& directory, const std::string& control, int flags) {
  const Fd cgroup(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup) return Fd();
  llmos_group_open args{};
  args.size = sizeof(args);
  args.flags = flags == O_RDONLY ? 0 : LLMOS_GROUP_WRITE;
  args.cgroup_fd = cgroup.get();
  control.copy(args.control, sizeof(args.control));
  return Fd(device_command(open_devices().get(), LLMOS_GROUP_OPEN, &args));
}

// Only what the kernel has as a control file, and no way out of the tree by a name.
void check_names(const std::string& group, const std::string& control) {
  if (control.empty() || control.size() >= LLMOS_CONTROL_SIZE || control.find('/') != control.npos || control[0] == '.')
    fail(EINVAL, "\"{}\" is no control file of a group", control);
  if (("/" + group + "/").find("/../") != std::string::npos) fail(EINVAL, "\"{}\" is no cgroup's path", group);
}

Fd open_file(const std::string& group, const std::string& control, int flags) {
  check_names(group, control);
  const bool is_standard = group.starts_with(kCgroupPath);
  if (!is_standard && group.starts_with('/') && is_on(group, CGROUP2_SUPER_MAGIC))
    return open_by_directory(group, control, flags);
  const std::string path = "/" + (is_standard ? group.substr(kCgroupPath.size()) : group);
  if (!is_on(kGroupsPath, LLMOS_GROUPS_MAGIC)) return open_by_directory(kCgroupPath + path, control, flags);
  return Fd(::open((kGroupsPath + path + "/" + control).c_str(), flags | O_CLOEXEC));
}

Fd open_control(const std::string& group, const std::string& control, int flags) {
  Fd fd = open_file(group, control, flags);
  if (fd) return fd;
  const int code = errno;
  if (code == ENOENT)
    fail(code, "group \"{}\" has no \"{}\": no such cgroup, or the root, which has no limits", group, control);
  if (code == EACCES || code == EPERM || code == EROFS)
    fail(code, "no right to change \"{}\" of group \"{}\": who may write the directory that holds that cgroup may",
         control, group);
  errno = code;
  fail_errno(fmt::format("cannot open \"{}\" of group \"{}\"", control, group));
}

}  // namespace

std::string group_read(const std::string& group, const std::string& control) {
  const Fd fd = open_control(group, control, O_RDONLY);
  std::string text;
  char part[4096];
  ssize_t n;
  while ((n = ::read(fd.get(), part, sizeof(part))) > 0) text.append(part, static_cast<size_t>(n));
  if (n < 0) fail_errno(fmt::format("cannot read \"{}\" of group \"{}\"", control, group));
  return text;
}

void group_write(const std::string& group, const std::string& control, const std::string& lines) {
  const Fd fd = open_control(group, control, O_WRONLY);
  if (::write(fd.get(), lines.data(), lines.size()) >= 0) return;
  const int code = errno;
  if (code == ENODEV) fail(code, "\"{}\": there is no such device (or the cgroup was removed)", lines);
  if (code == EINVAL || code == ERANGE)
    fail(code, "group \"{}\" does not take \"{}\" for \"{}\"; llmosctl(1) says how its lines look", group, lines,
         control);
  errno = code;
  fail_errno(fmt::format("cannot set \"{}\" of group \"{}\"", control, group));
}

}  // namespace llmos::core
