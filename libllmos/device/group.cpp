// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/vfs.h>

#include <cerrno>

#include "device/device.hpp"
#include "system/error.hpp"

namespace llmos::core {
namespace {

constexpr char kGroupsPath[] = "/sys/fs/llmos/groups";
constexpr std::string_view kCgroupPath = "/sys/fs/cgroup";

void need_groups() {
  struct statfs fs;
  if (::statfs(kGroupsPath, &fs) == 0 && fs.f_type == LLMOS_GROUPS_MAGIC) return;
  fail(ENODEV, "no groups are mounted on {0}: load the llmos module, and \"mount -t llmos_groups llmos_groups {0}\"",
       kGroupsPath);
}

// Only what the kernel has as a control file: no way out of the tree by a name.
std::string path_of(std::string group, const std::string& control) {
  if (group.starts_with(kCgroupPath)) group.erase(0, kCgroupPath.size());
  if (control.empty() || control.find('/') != control.npos || control[0] == '.')
    fail(EINVAL, "\"{}\" is no control file of a group", control);
  if (("/" + group + "/").find("/../") != std::string::npos) fail(EINVAL, "\"{}\" is no cgroup's path", group);
  return std::string(kGroupsPath) + "/" + group + "/" + control;
}

Fd open_control(const std::string& group, const std::string& control, int flags) {
  need_groups();
  Fd fd(::open(path_of(group, control).c_str(), flags | O_CLOEXEC));
  if (fd) return fd;
  const int code = errno;
  if (code == ENOENT)
    fail(code, "group \"{}\" has no \"{}\": no such cgroup, or the root, which has no limits", group, control);
  if (code == EACCES || code == EPERM)
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
