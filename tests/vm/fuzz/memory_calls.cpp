// SPDX-License-Identifier: MIT
// Calls on address space: models mapped into the windows in every way, and what else reaches the pages behind.
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "world.hpp"

namespace llmos::fuzz {

using guest::huge_page, guest::page;

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static Kind mappable(Random& random) {
  return random.pick({Kind::model, Kind::model, Kind::model, Kind::model, Kind::loader, Kind::dmabuf, Kind::source});
}

static long map(World& world, Random& random) {
  const int fd = world.fd(random, mappable(random));
  std::byte* const at = World::address(random);
  const size_t size = World::length(random);
  const int protection = static_cast<int>(random.mostly(random.pick({1, 1, 1, 1, 3, 5, 0, 2}), 99)) & 7;
  const int flags = random.pick({MAP_SHARED, MAP_SHARED, MAP_SHARED, MAP_PRIVATE, MAP_PRIVATE, MAP_SHARED_VALIDATE}) |
                    static_cast<int>(random.flags({MAP_POPULATE, MAP_NORESERVE, MAP_LOCKED}));
  const off_t from = static_cast<off_t>(random.mostly(random.pick<uint64_t>({0, 0, 0, 0, page, huge_page, 3 * page}), 99));
  void* const where = mmap(at, size, protection, flags | MAP_FIXED, fd, from);
  return where == MAP_FAILED ? -errno : 0;
}

// Plain memory: for buffers, and under a part of a model's mapping.
static long map_anonymous(World&, Random& random) {
  std::byte* const at = World::address(random);
  const size_t size = World::length(random);
  void* const where = mmap(at, size, PROT_READ | PROT_WRITE,
                           random.pick({MAP_PRIVATE, MAP_PRIVATE, MAP_SHARED}) | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
  return where == MAP_FAILED ? -errno : 0;
}

// Where the kernel likes, and back at once.
static long map_anywhere(World& world, Random& random) {
  const int fd = world.fd(random, mappable(random));
  const size_t size = World::length(random), target = random.below(windows);
  void* const where = mmap(nullptr, size, PROT_READ, random.pick({MAP_SHARED, MAP_PRIVATE}), fd, 0);
  if (where == MAP_FAILED) return -errno;
  survives([&] { static_cast<void>(*static_cast<volatile std::byte*>(where)); });
  if (random.chance(50) &&
      mremap(where, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, World::window(target)) != MAP_FAILED)
    return 0;
  return result(munmap(where, size));
}

static long unmap(World&, Random& random) {
  std::byte* const at = World::address(random);
  return result(munmap(at, World::length(random)));
}

static long remap(World&, Random& random) {
  std::byte* const from = World::address(random);
  std::byte* const to = World::window(random.below(windows)) + page * random.below(3);
  const size_t old_size = World::length(random), size = World::length(random);
  const int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (random.chance(20) ? MREMAP_DONTUNMAP : 0);
  void* const where = mremap(from, old_size, random.chance(60) ? old_size : size, flags, to);
  return where == MAP_FAILED ? -errno : 0;
}

static long protect(World&, Random& random) {
  std::byte* const at = World::address(random);
  const size_t size = World::length(random);
  return result(mprotect(at, size, static_cast<int>(random.below(8))));
}

static long advise(World&, Random& random) {
  std::byte* const at = World::address(random);
  const size_t size = World::length(random);
  // Not the injection of memory errors.
  const int advice = random.pick({MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_FREE,
                                  MADV_REMOVE, MADV_DONTFORK, MADV_DOFORK, MADV_MERGEABLE, MADV_UNMERGEABLE,
                                  MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_DODUMP, MADV_WIPEONFORK,
                                  MADV_KEEPONFORK, MADV_COLD, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE,
                                  MADV_DONTNEED_LOCKED, MADV_COLLAPSE, MADV_COLLAPSE});
  return result(madvise(at, size, advice));
}

static long touch(World&, Random& random) {
  volatile std::byte* const at = World::address(random);
  const size_t step = random.pick<size_t>({page, page, 7 * page, huge_page / 2}), count = random.between(1, 16);
  const bool write = random.chance(20);
  return survives([&] {
           for (size_t i = 0; i < count; i++) {
             const std::byte value = at[i * step];
             if (write) at[i * step] = value;
           }
         })
             ? 0
             : -EFAULT;
}

static long memory_call(World&, Random& random) {
  static thread_local unsigned char residency[window_size / page];
  std::byte* const at = World::address(random);
  std::byte* const begin = reinterpret_cast<std::byte*>(reinterpret_cast<uintptr_t>(at) / page * page);
  const size_t size = std::min<size_t>(World::length(random), 16 * huge_page);
  unsigned long nodes = 1;
  switch (random.below(9)) {
    case 0: return result(mlock(at, std::min<size_t>(size, 4 * huge_page)));
    case 1: return result(munlock(at, size));
    case 2: return result(mlock2(at, std::min<size_t>(size, 4 * huge_page), MLOCK_ONFAULT));
    case 3: return result(msync(begin, size, random.pick({MS_ASYNC, MS_SYNC, MS_INVALIDATE | MS_SYNC})));
    case 4: return result(mincore(begin, size, residency));
    case 5: return result(syscall(SYS_mbind, begin, size, MPOL_BIND, &nodes, 8, MPOL_MF_MOVE));
    case 6: {
      void* pages[4] = {begin, begin + page, begin + huge_page, begin + 5 * page};
      int to[4] = {0, 0, 0, 0}, status[4];
      return result(syscall(SYS_move_pages, 0, 4, pages, to, status, MPOL_MF_MOVE));
    }
    case 7: return result(syscall(SYS_remap_file_pages, begin, size, 0, random.below(64), 0));
    default: return result(munlockall());
  }
}

static long vmsplice_out(World& world, Random& random) {
  const iovec part = {World::address(random), World::length(random) % (256 * guest::KiB)};
  return result(vmsplice(world.fd(random, Kind::pipe), &part, 1,
                         SPLICE_F_NONBLOCK | static_cast<unsigned>(random.flags({SPLICE_F_GIFT}))));
}

// To and from this or another process.
static long reach(World& world, Random& random) {
  const int pid = random.chance(50) ? getpid() : world.shared.pid[random.below(world.options.processes)].load();
  const iovec here = {world.buffer(random), random.between(1, 16384)};
  const iovec there = {World::address(random), random.between(1, 16384)};
  return result(random.chance(60) ? process_vm_readv(pid, &here, 1, &there, 1, 0)
                                  : process_vm_writev(pid, &here, 1, &there, 1, 0));
}

static long own_mem(World& world, Random& random) {
  const guest::Fd fd(open("/proc/self/mem", O_RDWR | O_CLOEXEC));
  const auto at = static_cast<off_t>(reinterpret_cast<uintptr_t>(World::address(random)));
  void* const buffer = world.buffer(random);
  const size_t size = random.between(1, 8192);
  return result(random.chance(50) ? pread(fd, buffer, size, at) : pwrite(fd, buffer, size, at));
}

// Memory whose first touch, by whoever it is, raises SIGBUS or EFAULT instead of finding a page.
static long fault_handler(World& world, Random& random) {
  const int fd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
  uffdio_api api = {UFFD_API, UFFD_FEATURE_SIGBUS, 0};
  std::byte* const at = World::window(random.below(windows));
  uffdio_register range = {{reinterpret_cast<uintptr_t>(at), huge_page * random.between(1, 4)},
                           random.pick<uint64_t>({UFFDIO_REGISTER_MODE_MISSING, UFFDIO_REGISTER_MODE_WP}), 0};
  if (fd >= 0) ioctl(fd, UFFDIO_API, &api);
  const long ret = fd < 0 ? -errno : result(ioctl(fd, UFFDIO_REGISTER, &range));
  uffdio_zeropage zero = {range.range, 0, 0};
  if (ret == 0 && random.chance(50)) ioctl(fd, UFFDIO_ZEROPAGE, &zero);
  world.keep(random, Kind::other, fd);
  return ret;
}

// A child that uses what it inherited, and ends in one of several ways.
static long fork_child(World& world, Random& random) {
  const int fd = world.fd(random, Kind::model), end = static_cast<int>(random.below(4));
  std::byte* const at = World::address(random);
  const pid_t child = fork();
  if (child < 0) return -errno;
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char byte;
    alarm(60);
    survives([&] { static_cast<void>(*static_cast<volatile std::byte*>(at)); });
    survives([&] { *static_cast<volatile std::byte*>(at) = std::byte{1}; });
    if (pread(fd, &byte, 1, 0) < 0) munmap(at, huge_page);
    if (end == 0) execl("/bin/true", "true", nullptr);
    if (end == 1) kill(getpid(), SIGKILL);
    _exit(0);
  }
  return result(waitpid(child, nullptr, 0));
}

std::vector<Call> memory_calls() {
  return {
      {"map", 120, map},           {"map anonymous", 15, map_anonymous}, {"map anywhere", 30, map_anywhere},
      {"unmap", 25, unmap},        {"remap", 20, remap},                 {"protect", 25, protect},
      {"advise", 50, advise},      {"touch", 90, touch},                 {"memory call", 25, memory_call},
      {"vmsplice", 15, vmsplice_out}, {"reach", 25, reach},              {"own memory", 15, own_mem},
      {"userfaultfd", 6, fault_handler}, {"fork", 4, fork_child},
  };
}

}  // namespace llmos::fuzz
