// SPDX-License-Identifier: MIT
// Calls by path: opening models, and all the ways of changing a folder, of which none may ever work there.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include <cstdio>

#include "world.hpp"

namespace llmos::fuzz {

// In the models' folder, or where it is mounted besides.
static std::string any_path(const World& world, Random& random) {
  const std::string path = world.path(random);
  const unsigned place = random.below(10), number = random.below(2);
  if (place > 1) return path;
  const std::string other = "/tmp/fuzz/" + std::string(place ? "mount" : "bind") + std::to_string(number);
  return place ? other + path.substr(path.rfind('/')) : other;
}

static long open_model(World& world, Random& random) {
  const std::string path = any_path(world, random);
  return world.keep(random, Kind::model,
                    open(path.c_str(), O_RDONLY | O_CLOEXEC |
                                           random.pick({0, 0, 0, 0, O_DIRECT, O_NONBLOCK, O_NOFOLLOW, O_PATH})));
}

static long open_oddly(World& world, Random& random) {
  const std::string path = any_path(world, random);
  open_how how = {};
  how.flags = random.pick({O_RDONLY, O_PATH, O_RDONLY | O_DIRECTORY}) | O_CLOEXEC;
  how.resolve = random.flags({RESOLVE_NO_XDEV, RESOLVE_NO_SYMLINKS, RESOLVE_CACHED, RESOLVE_BENEATH});
  const int folder = world.fd(random, Kind::folder);
  return world.keep(random, Kind::model,
                    static_cast<int>(syscall(SYS_openat2, folder, path.c_str() + path.rfind('/') + 1, &how, sizeof(how))));
}

static long open_folder(World& world, Random& random) {
  const std::string path =
      random.pick<std::string>({guest::models_dir, guest::models_dir, "/tmp/fuzz/mount0", "/tmp/fuzz/mount1"});
  return world.keep(random, Kind::folder, open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static long list_folder(World& world, Random& random) {
  const int fd = world.fd(random, Kind::folder);
  const off_t at = static_cast<off_t>(random.garbage());
  if (random.chance(40)) lseek(fd, random.chance(70) ? 0 : at, SEEK_SET);
  return result(syscall(SYS_getdents64, fd, world.buffer(random), random.mostly(random.below(2048), 98)));
}

static long look(World& world, Random& random) {
  const std::string path = any_path(world, random);
  struct statx statx_result;
  struct statfs fs;
  char value[128];
  struct {
    file_handle head;
    unsigned char bytes[128];
  } handle = {};
  int mount = 0;
  handle.head.handle_bytes = static_cast<unsigned>(random.below(129));
  switch (random.below(7)) {
    case 0: return result(statfs(path.c_str(), &fs));
    case 1: return result(access(path.c_str(), static_cast<int>(random.below(8))));
    case 2: return result(getxattr(path.c_str(), LLMOS_DIGEST_XATTR, value, random.below(sizeof(value) + 1)));
    case 3: return result(listxattr(path.c_str(), value, random.below(sizeof(value) + 1)));
    case 4: return result(name_to_handle_at(AT_FDCWD, path.c_str(), &handle.head, &mount, random.pick({0, 0x200})));
    case 5: return result(open_by_handle_at(world.fd(random, Kind::folder), &handle.head, O_RDONLY));
    default: return result(statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, 0x3fff, &statx_result));
  }
}

static long watch(World& world, Random& random) {
  const int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd >= 0) inotify_add_watch(fd, any_path(world, random).c_str(), IN_ALL_EVENTS);
  if (fd >= 0) inotify_add_watch(fd, guest::models_dir.c_str(), IN_ALL_EVENTS);
  return world.keep(random, Kind::other, fd);
}

static int attempt(Random& random, const char* path) {
  const timespec times[2] = {{1, 1}, {2, 2}};
  const char* const here = "/tmp/fuzz/file";
  switch (random.below(16)) {
    case 0: return open(path, O_RDWR | O_CLOEXEC);
    case 1: return open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    case 2: return open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    case 3: return truncate(path, 5);
    case 4: return unlink(path);
    case 5: return rename(path, here);
    case 6: return rename(here, path);
    case 7: return link(path, here);
    case 8: return symlink(here, path);
    case 9: return mkdir(path, 0777);
    case 10: return chmod(path, 0666);
    case 11: return lchown(path, 1000, 1000);
    case 12: return utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
    case 13: return setxattr(path, LLMOS_DIGEST_XATTR, "x", 1, 0);
    case 14: return removexattr(path, LLMOS_DIGEST_XATTR);
    default: return mknod(path, S_IFREG | 0666, 0);
  }
}

static long change_folder(World& world, Random& random) {
  char path[256];
  snprintf(path, sizeof(path), "%s/m%lu", guest::models_dir.c_str(), random.below(names));
  Random again = random;
  const int ret = attempt(random, path);
  if (ret >= 0) world.violation("attempt " + std::to_string(again.below(16)) + " to change " + path + " succeeded");
  return result(ret);
}

std::vector<Call> folder_calls() {
  return {
      {"open model", 120, open_model}, {"openat2", 20, open_oddly},   {"open folder", 10, open_folder},
      {"list folder", 20, list_folder}, {"look at path", 40, look},   {"watch", 8, watch},
      {"change folder", 40, change_folder, hopeless},
  };
}

}  // namespace llmos::fuzz
