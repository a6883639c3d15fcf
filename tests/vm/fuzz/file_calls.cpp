// SPDX-License-Identifier: MIT
// Calls on open files, most of them models.
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>

#include "world.hpp"

namespace llmos::fuzz {

using guest::huge_page, guest::KiB, guest::page;

static Kind model_or_loader(Random& random) { return random.pick({Kind::model, Kind::model, Kind::loader}); }

static off_t offset(Random& random) {
  return static_cast<off_t>(random.mostly(
      random.pick<uint64_t>({0, 0, 0, 1, page - 1, page, random.below(4 * huge_page), huge_page}), 97));
}

static long open_source(World& world, Random& random) {
  const auto& folder = world.options.folder;
  const std::string path = random.pick<std::string>(
      {folder + "/source", folder + "/source", folder + "/source", folder + "/short", "/tmp/fuzz/source", folder,
       "/proc/self/maps", "/dev/zero", "/dev/nvme0n1", world.path(random)});
  const int flags = random.pick({0, 0, O_DIRECT, O_NONBLOCK, O_PATH});
  return world.keep(random, Kind::source, open(path.c_str(), O_RDONLY | O_CLOEXEC | flags));
}

static long make_pipe(World& world, Random& random) {
  int ends[2];
  if (pipe2(ends, O_NONBLOCK | O_CLOEXEC)) return -errno;
  world.keep(random, Kind::pipe, ends[0]);
  return world.keep(random, Kind::pipe, ends[1]);
}

static long read_file(World& world, Random& random) {
  const int fd = world.fd(random, model_or_loader(random));
  void* const buffer = world.buffer(random);
  const size_t size = random.mostly(random.between(1, World::buffer_size), 98);
  const off_t at = offset(random);
  const iovec parts[] = {{buffer, size / 3}, {World::address(random), size / 2}, {buffer, 7}};
  switch (random.below(5)) {
    case 0: return result(read(fd, buffer, size));
    case 1: return result(readv(fd, parts, 3));
    case 2: return result(preadv2(fd, parts, 3, at, static_cast<int>(random.flags({RWF_HIPRI, RWF_NOWAIT, RWF_DSYNC}))));
    default: return result(pread(fd, buffer, size, at));
  }
}

static long write_file(World& world, Random& random) {
  const int fd = world.fd(random, random.chance(80) ? Kind::loader : Kind::model);
  void* const buffer = world.buffer(random);
  const size_t size = random.mostly(random.between(1, World::buffer_size), 98);
  const off_t at = offset(random);
  const iovec parts[] = {{buffer, size / 3}, {World::address(random), size / 2}, {buffer, 7}};
  switch (random.below(5)) {
    case 0: return result(write(fd, buffer, size));
    case 1: return result(writev(fd, parts, 3));
    case 2:
      return result(pwritev2(fd, parts, 3, at, static_cast<int>(random.flags({RWF_APPEND, RWF_NOWAIT, RWF_SYNC}))));
    default: return result(pwrite(fd, buffer, size, at));
  }
}

static long move(World& world, Random& random) {
  const int in = world.fd(random, random.pick({Kind::model, Kind::model, Kind::loader, Kind::pipe, Kind::source}));
  const int out = world.fd(random, random.pick({Kind::pipe, Kind::pipe, Kind::loader, Kind::model}));
  loff_t from = offset(random), to = offset(random);
  const size_t size = random.between(1, 256 * KiB);
  const bool place = random.chance(50);
  switch (random.below(5)) {
    case 0: return result(sendfile(out, in, place ? &from : nullptr, size));
    case 1: return result(copy_file_range(in, &from, out, place ? &to : nullptr, size, 0));
    case 2: return result(tee(in, out, size, SPLICE_F_NONBLOCK));
    default: return result(splice(in, place ? &from : nullptr, out, nullptr, size, SPLICE_F_NONBLOCK | SPLICE_F_MOVE));
  }
}

// Lets go of what pipes hold.
static long drain(World& world, Random& random) {
  static thread_local std::byte bytes[64 * KiB];
  return result(read(world.fd(random, Kind::pipe), bytes, sizeof(bytes)));
}

static long seek(World& world, Random& random) {
  return result(lseek(world.fd(random, model_or_loader(random)), offset(random),
                      random.pick({SEEK_SET, SEEK_CUR, SEEK_END, SEEK_HOLE, SEEK_DATA})));
}

static long stat_file(World& world, Random& random) {
  const int fd = world.fd(random, model_or_loader(random));
  struct statx statx_result;
  struct statfs fs;
  char value[128];
  switch (random.below(4)) {
    case 0: return result(fstatfs(fd, &fs));
    case 1: return result(fgetxattr(fd, LLMOS_DIGEST_XATTR, value, random.below(sizeof(value) + 1)));
    case 2: return result(flistxattr(fd, value, random.below(sizeof(value) + 1)));
    default: return result(statx(fd, "", AT_EMPTY_PATH, random.pick({0x7ff, 0x3fff, 0}), &statx_result));
  }
}

// What no descriptor of a model allows. A racing close() may have put another file here, so success is no proof.
static long change(World& world, Random& random) {
  const int fd = world.fd(random, model_or_loader(random));
  const off_t at = offset(random), size = offset(random);
  const timespec times[2] = {{1, 1}, {2, 2}};
  int flags = 0x10;
  fsxattr extended = {};
  fsverity_enable_arg enable = {1, FS_VERITY_HASH_ALG_SHA256, 4096};
  switch (random.below(11)) {
    case 0: return result(ftruncate(fd, size));
    case 1: return result(fallocate(fd, static_cast<int>(random.flags({1, 2, 8, 16, 32, 64})), at, size));
    case 2: return result(fchmod(fd, 0666));
    case 3: return result(fchown(fd, 1, 1));
    case 4: return result(futimens(fd, times));
    case 5: return result(fsetxattr(fd, LLMOS_DIGEST_XATTR, "x", 1, 0));
    case 6: return result(fremovexattr(fd, LLMOS_DIGEST_XATTR));
    case 7: return result(ioctl(fd, FS_IOC_SETFLAGS, &flags));
    case 8: return result(ioctl(fd, FS_IOC_FSSETXATTR, &extended));
    case 9: return result(ioctl(fd, FS_IOC_ENABLE_VERITY, &enable));
    default: return result(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
  }
}

static long control(World& world, Random& random) {
  const int fd = world.fd(random, random.pick({Kind::model, Kind::loader, Kind::pipe, Kind::dmabuf}));
  struct flock lock = {};
  lock.l_type = static_cast<short>(random.pick({F_RDLCK, F_WRLCK, F_UNLCK}));
  lock.l_len = static_cast<off_t>(random.below(1 << 20));
  int flags;
  fsxattr extended;
  switch (random.below(12)) {
    case 0: return result(flock(fd, random.pick({LOCK_SH, LOCK_EX, LOCK_UN}) | LOCK_NB));
    case 1: return result(fcntl(fd, F_SETLK, &lock));
    case 2: return result(fcntl(fd, F_SETLEASE, random.pick({F_RDLCK, F_WRLCK, F_UNLCK})));
    case 3: return result(fcntl(fd, F_SETFL, O_NONBLOCK | static_cast<int>(random.flags({O_DIRECT, O_APPEND, O_NOATIME}))));
    case 4: return result(fcntl(fd, F_SETPIPE_SZ, random.pick({4096, 65536, 1 << 20})));
    case 5: return result(ioctl(fd, FS_IOC_GETFLAGS, &flags));
    case 6: return result(ioctl(fd, FS_IOC_FSGETXATTR, &extended));
    case 7: return result(fsync(fd));
    case 8: return result(fdatasync(fd));
    case 9: return result(sync_file_range(fd, offset(random), offset(random), 7));
    case 10: return result(readahead(fd, offset(random), random.below(huge_page)));
    default: return result(posix_fadvise(fd, offset(random), offset(random), static_cast<int>(random.below(7))));
  }
}

static long duplicate(World& world, Random& random) {
  const Kind kind =
      random.pick({Kind::model, Kind::loader, Kind::dmabuf, Kind::device, Kind::charge, Kind::lane, Kind::policy});
  return world.keep(random, kind, fcntl(world.fd(random, kind), F_DUPFD_CLOEXEC, 0));
}

// O_NONBLOCK, because now and then it is a pipe, which nobody may ever write to.
static long reopen(World& world, Random& random) {
  const std::string path = "/proc/self/fd/" + std::to_string(world.fd(random, model_or_loader(random)));
  const int flags = random.pick({O_RDONLY, O_RDONLY, O_RDWR, O_PATH}) | O_CLOEXEC | O_NONBLOCK;
  return world.keep(random, Kind::model, open(path.c_str(), flags));
}

static long close_one(World& world, Random& random) {
  return world.drop(random, static_cast<Kind>(random.below(kinds)));
}

// To any process that asks, of any user.
static long send_fd(World& world, Random& random) {
  int fd = world.fd(random, random.pick({Kind::model, Kind::loader, Kind::dmabuf, Kind::charge, Kind::lane}));
  char byte = 0;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = room;
  message.msg_controllen = sizeof(room);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  return result(sendmsg(world.post[0], &message, MSG_DONTWAIT));
}

static long receive_fd(World& world, Random& random) {
  char byte;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = room;
  message.msg_controllen = sizeof(room);
  if (recvmsg(world.post[1], &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0) return -errno;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (!header) return -ENODATA;
  int fd;
  memcpy(&fd, CMSG_DATA(header), sizeof(fd));
  return world.keep(random, random.pick({Kind::model, Kind::loader, Kind::charge, Kind::lane}), fd);
}

std::vector<Call> file_calls() {
  return {
      {"open source", 25, open_source}, {"pipe", 12, make_pipe},     {"read", 50, read_file},
      {"write", 60, write_file},        {"splice", 40, move},        {"drain pipe", 40, drain},
      {"seek", 10, seek},               {"stat file", 20, stat_file}, {"change file", 30, change},
      {"control file", 30, control},    {"duplicate", 15, duplicate}, {"reopen", 15, reopen},
      {"close", 40, close_one},         {"send descriptor", 15, send_fd}, {"receive descriptor", 20, receive_fd},
  };
}

}  // namespace llmos::fuzz
