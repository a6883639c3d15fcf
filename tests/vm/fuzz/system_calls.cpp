// SPDX-License-Identifier: MIT
// Calls on the machine around the models: mounts, cgroups, other processes, memory pressure, the module itself.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "world.hpp"

namespace llmos::fuzz {

using guest::Fd, guest::huge_page, guest::MiB;

// Not the C++ library's streams: these run with allocations failing, and in forked children.
static long put(const char* path, const char* text) {
  const Fd fd(open(path, O_WRONLY | O_CLOEXEC));
  return fd < 0 ? -errno : result(write(fd, text, strlen(text)));
}

static long mount_models(World&, Random& random) {
  char place[64], path[256];
  const unsigned long number = random.below(2), flags = random.flags({MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC});
  snprintf(path, sizeof(path), "%s/m%lu", guest::models_dir.c_str(), random.below(names));
  snprintf(place, sizeof(place), "/tmp/fuzz/mount%lu", number);
  switch (random.below(7)) {
    case 0: return result(mount("none", place, LLMOS_MODELS_FSTYPE, flags, random.chance(90) ? nullptr : "what=ever"));
    case 1: return result(mount(guest::models_dir.c_str(), place, nullptr, MS_BIND, nullptr));
    case 2: return result(mount(nullptr, place, nullptr, MS_REMOUNT | flags, nullptr));
    case 3:
      snprintf(place, sizeof(place), "/tmp/fuzz/bind%lu", number);
      return result(mount(path, place, nullptr, MS_BIND, nullptr));
    case 4: snprintf(place, sizeof(place), "/tmp/fuzz/bind%lu", number); [[fallthrough]];
    default: return result(umount2(place, random.pick<int>({0, MNT_DETACH, MNT_EXPIRE})));
  }
}

// The usual mount too: then perhaps nothing but a call under way keeps the filesystem.
static long remount_models(World&, Random& random) {
  const long ret = result(umount2(guest::models_dir.c_str(), random.pick<int>({0, MNT_DETACH})));
  mount("none", guest::models_dir.c_str(), LLMOS_MODELS_FSTYPE, 0, nullptr);
  return ret;
}

// Groups, of all cgroups or of some, where something else may be mounted.
static long mount_groups(World&, Random& random) {
  char place[64];
  snprintf(place, sizeof(place), "/tmp/fuzz/mount%lu", random.below(2));
  const char* const option = random.pick<const char*>(
      {nullptr, "cgroup=/sys/fs/cgroup/fuzz", "cgroup=/sys/fs/cgroup/fuzz/1", "cgroup=/tmp", "cgroup=", "what=ever"});
  if (random.chance(50)) return result(umount2(place, random.pick<int>({0, MNT_DETACH, MNT_EXPIRE})));
  return result(mount("none", place, LLMOS_GROUPS_FSTYPE, 0, option));
}

static long unload(World& world, Random&) {
  const long ret = result(syscall(SYS_delete_module, "llmos", O_NONBLOCK));
  if (ret == 0) world.violation("the module was unloaded while its device was open");
  return ret;
}

static long set_limit(World&, Random& random) {
  const char* const limit = random.pick<const char*>({"0", "16M", "64M", "256M", "256M", "256M", "256M", "256M", "256M", "256M", "max", "rubbish"});
  return put("/sys/fs/llmos/memory.max", limit);
}

static long move_to_cgroup(World&, Random& random) {
  char path[64];
  snprintf(path, sizeof(path), "/sys/fs/cgroup/fuzz/%lu/cgroup.procs", random.below(4));
  return put(random.chance(80) ? path : "/sys/fs/cgroup/cgroup.procs", "0");
}

static long open_cgroup(World& world, Random& random) {
  char path[64];
  snprintf(path, sizeof(path), "/sys/fs/cgroup/fuzz/%lu", random.below(4));
  return world.keep(random, Kind::cgroup, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

// A cgroup that lives only for this call, or for as long as a deny list remembers it.
static long pass_cgroup(World& world, Random& random) {
  char path[64];
  snprintf(path, sizeof(path), "/sys/fs/cgroup/fuzz/t%u.%lu", world.process, random.below(1000));
  if (mkdir(path, 0755)) return -errno;
  const Fd fd(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  auto args = guest::sized<llmos_model_revoke>();
  world.name(random, args.name);
  args.subject = LLMOS_SUBJECT_CGROUP;
  args.value = fd;
  const long ret = result(guest::command(world.fd(random, Kind::device), LLMOS_MODEL_REVOKE, args));
  rmdir(path);
  return ret;
}

// Charges and lanes that outlive the cgroup they were made in.
static long outlive_cgroup(World& world, Random& random) {
  char path[64], procs[96];
  snprintf(path, sizeof(path), "/sys/fs/cgroup/fuzz/o%u.%lu", world.process, random.below(1000));
  auto charge = guest::sized<llmos_charge>();
  auto lane = guest::sized<llmos_lane_create>();
  device_id(random, charge.id);
  memcpy(lane.device, charge.id, sizeof(lane.device));
  charge.bytes = random.below(MiB);
  const int device = world.fd(random, Kind::device);
  if (mkdir(path, 0755)) return -errno;
  snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
  long ret = put(procs, "0");
  if (ret >= 0) {
    ret = world.keep(random, Kind::charge, guest::command(device, LLMOS_CHARGE_CREATE, charge));
    world.keep(random, Kind::lane, guest::command(device, LLMOS_LANE_CREATE, lane));
    put("/sys/fs/cgroup/fuzz/0/cgroup.procs", "0");
  }
  for (int tries = 20; rmdir(path) && errno == EBUSY && tries; tries--) usleep(1000);
  return ret;
}

static long kill_process(World& world, Random& random) {
  const int pid = world.shared.pid[random.below(world.options.processes)];
  return pid > 0 ? result(kill(pid, SIGKILL)) : -ESRCH;
}

static long take_descriptor(World& world, Random& random) {
  const int pid = world.shared.pid[random.below(world.options.processes)];
  const Fd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  const int fd = static_cast<int>(random.between(3, 80));
  return world.keep(random, random.pick({Kind::model, Kind::loader, Kind::lane}),
                    static_cast<int>(syscall(SYS_pidfd_getfd, static_cast<int>(process), fd, 0)));
}

// Takes whatever is free, and some of what can be reclaimed; the first to go if that was too much.
[[noreturn]] static void press() {
  put("/proc/self/oom_score_adj", "1000");
  alarm(120);
  const uint64_t size = static_cast<uint64_t>(sysconf(_SC_AVPHYS_PAGES)) * guest::page + 192 * MiB;
  void* const where = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (where == MAP_FAILED) _exit(1);
  madvise(where, size, MADV_HUGEPAGE);
  for (uint64_t at = 0; at < size; at += guest::page) static_cast<volatile std::byte*>(where)[at] = std::byte{1};
  _exit(0);
}

static long pressure(World& world, Random& random) {
  if (random.chance(95) || world.shared.pressing.exchange(true)) return -EAGAIN;  // takes seconds
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    press();
  }
  const long ret = child < 0 ? -errno : result(waitpid(child, nullptr, 0));
  world.shared.pressing = false;
  return ret;
}

// As reclaim would: runs the shrinkers.
static long shrink(World&, Random& random) { return put("/proc/sys/vm/drop_caches", random.pick<const char*>({"1", "2", "3"})); }
static long compact(World&, Random&) { return put("/proc/sys/vm/compact_memory", "1"); }

// A look at the models from other namespaces.
static long other_namespace(World&, Random& random) {
  const int flags = random.pick({CLONE_NEWUSER, CLONE_NEWUSER | CLONE_NEWNS, CLONE_NEWNS, CLONE_NEWPID});
  const unsigned long number = random.below(names);
  const pid_t child = fork();
  if (child < 0) return -errno;
  if (child == 0) {
    char path[256];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(60);
    snprintf(path, sizeof(path), "%s/m%lu", guest::models_dir.c_str(), number);
    if (unshare(flags)) _exit(1);
    const int fd = open(path, O_RDONLY), device = open("/dev/llmos", O_RDWR);
    mount("none", "/tmp/fuzz/mount0", LLMOS_MODELS_FSTYPE, 0, nullptr);
    auto query = guest::sized<llmos_query>();
    query.abi = LLMOS_ABI_VERSION;
    guest::command(device, LLMOS_QUERY, query);
    auto args = guest::sized<llmos_model_revoke>();
    snprintf(args.name, sizeof(args.name), "m%lu", number);
    args.subject = LLMOS_SUBJECT_UID;
    args.flags = LLMOS_REVOKE_KEEP_ACCESS;
    guest::command(device, LLMOS_MODEL_REVOKE, args);
    void* const where = mmap(nullptr, huge_page, PROT_READ, MAP_SHARED, fd, 0);
    survives([&] { static_cast<void>(*static_cast<volatile std::byte*>(where)); });
    _exit(0);
  }
  return result(waitpid(child, nullptr, 0));
}

std::vector<Call> system_calls() {
  return {
      {"mount", 12, mount_models},     {"remount models", 2, remount_models},
      {"mount groups", 6, mount_groups}, {"unload", 6, unload, hopeless},
      {"set limit", 6, set_limit},     {"move to cgroup", 8, move_to_cgroup}, {"open cgroup", 10, open_cgroup},
      {"pass a cgroup", 3, pass_cgroup},
      {"outlive a cgroup", 5, outlive_cgroup}, {"kill", 1, kill_process},           {"take descriptor", 8, take_descriptor},
      {"pressure", 1, pressure},       {"shrink", 3, shrink},                 {"compact", 1, compact},
      {"other namespace", 2, other_namespace},
  };
}

}  // namespace llmos::fuzz
