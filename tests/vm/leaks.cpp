// SPDX-License-Identifier: MIT
#include "leaks.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <map>

#include "system.hpp"

namespace llmos::guest {

static std::map<std::string, int64_t> all_of_meminfo() {
  std::ifstream file("/proc/meminfo");
  std::map<std::string, int64_t> all;
  std::string key, rest;
  for (int64_t kilobytes; file >> key >> kilobytes && std::getline(file, rest);) all[key] = kilobytes * KiB;
  return all;
}

// Bytes on the per-CPU lists of free pages.
static int64_t on_lists() {
  std::ifstream file("/proc/zoneinfo");
  int64_t pages = 0, count;
  for (std::string word; file >> word;)
    if (word == "count:" && file >> count) pages += count;
  return pages * static_cast<int64_t>(page);
}

int64_t unaccounted_memory() {
  sync();
  must_write("/proc/sys/vm/drop_caches", "3");
  auto memory = all_of_meminfo();
  int64_t rest = memory["MemTotal:"] - on_lists();
  for (const char* key : {"MemFree:", "Buffers:", "Cached:", "SwapCached:", "AnonPages:", "Slab:", "KernelStack:",
                          "PageTables:", "SecPageTables:", "VmallocUsed:", "Percpu:", "Bounce:", "Hugetlb:"})
    rest -= memory[key];
  return rest;
}

int64_t unaccounted_tolerance() { return (exists("/sys/kernel/debug/kmemleak") ? 48 : 6) * MiB; }

static void unmount_models() {
  for (int left = 100; left && exists(models_dir) && umount2(models_dir.c_str(), 0) == 0; left--) {
  }
}

std::string reload_module() {
  utsname system;
  uname(&system);
  const std::string path = std::string("/lib/modules/") + system.release + "/updates/llmos.ko";
  const char* const groups = "/sys/fs/llmos/groups";
  unmount_models();
  const bool had_groups = umount2(groups, MNT_DETACH) == 0;
  const auto unloaded = [] { return syscall(SYS_delete_module, "llmos", O_NONBLOCK) == 0; };
  if (!eventually(unloaded)) return std::string("unloading the module: ") + strerror(errno);
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (syscall(SYS_finit_module, static_cast<int>(file), "", 0)) return "loading " + path + ": " + strerror(errno);
  if (mount("none", models_dir.c_str(), LLMOS_MODELS_FSTYPE, 0, nullptr))
    return std::string("mounting: ") + strerror(errno);
  if (had_groups && mount("none", groups, LLMOS_GROUPS_FSTYPE, 0, nullptr))
    return std::string("mounting groups: ") + strerror(errno);
  return "";
}

}  // namespace llmos::guest
