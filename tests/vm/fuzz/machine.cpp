// SPDX-License-Identifier: MIT
#include "machine.hpp"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "../groups.hpp"
#include "../leaks.hpp"
#include "../system.hpp"
#include "../verity.hpp"

namespace llmos::fuzz {

namespace fs = std::filesystem;
using guest::Fd, guest::MiB;

static const std::string cgroups = "/sys/fs/cgroup/fuzz", temporary = "/tmp/fuzz";
static constexpr uint64_t source_bytes = 8 * MiB;

template <typename... Parts>
void Machine::problem(const Parts&... parts) {
  std::ostringstream text;
  (text << ... << parts);
  problems_.push_back(text.str());
}

static void write_source(const std::string& path, uint64_t bytes) {
  const Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  guest::write_pattern(fd, bytes);
  fsync(fd);
}

void Machine::prepare_files() {
  fs::create_directories(options_.folder);
  write_source(options_.folder + "/source", source_bytes);
  write_source(options_.folder + "/short", 100);
  for (const char* name : {"mount0", "mount1"}) fs::create_directories(temporary + "/" + name);
  for (const char* name : {"bind0", "bind1", "file"}) write_source(temporary + "/" + name, 1);
  write_source(temporary + "/source", source_bytes / 2);
  guest::must_shell("chgrp llmos /dev/llmos && chmod 660 /dev/llmos");
}

// Four, the last of them with little memory.
void Machine::prepare_cgroups() {
  for (int i = 0; i < 4; i++) fs::create_directories(cgroups + "/" + std::to_string(i));
  guest::write_file(cgroups + "/cgroup.subtree_control", "+memory");
  guest::write_file(cgroups + "/3/memory.max", "48M");
  guest::write_file("/proc/self/oom_score_adj", "-1000");
}

// Only threads that ask for it are hit; see FaultInjection.
void Machine::prepare_faults() {
  guest::must_shell("for file in /sys/kernel/debug/fail*/verbose; do echo 0 >$file; done");
  for (const std::string kind : {"failslab", "fail_page_alloc"}) {
    const std::string folder = "/sys/kernel/debug/" + kind;
    guest::must_write(folder + "/task-filter", "Y");
    guest::must_write(folder + (kind == "failslab" ? "/ignore-gfp-wait" : "/min-order"), "0");
  }
  for (const char* kind : {"wait", "highmem"})
    guest::must_write(std::string("/sys/kernel/debug/fail_page_alloc/ignore-gfp-") + kind, "0");
}

// Turns that nobody ends are soon taken away.
void Machine::prepare_lanes() {
  guest::mount_groups();
  for (const auto& [knob, value] : {std::pair{"slice_us", "5000"}, {"claim_ms", "50"}, {"stall_ms", "200"}, {"wait_max_ms", "100"}})
    guest::must_write(std::string("/sys/fs/llmos/lanes/") + knob, value);
}

Machine::Machine(const Options& options) : options_(options) {
  if (guest::memory_current()) throw std::runtime_error("there are models already");
  prepare_files();
  prepare_cgroups();
  if (options.faults) prepare_faults();
  guest::write_file("/proc/sys/vm/unprivileged_userfaultfd", "1");
  guest::write_file("/sys/kernel/mm/transparent_hugepage/enabled", "always");
  guest::write_file("/sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs", "200");
  guest::must_write(guest::memory_max_file, "256M");
  prepare_lanes();
  unaccounted_ = guest::unaccounted_memory();
  if (have_policies()) policies_ = load_policies();
}

// ---- afterwards ----

void Machine::unmount() {
  for (const char* name : {"mount0", "mount1", "bind0", "bind1"})
    while (umount2((temporary + "/" + name).c_str(), MNT_DETACH) == 0) {
    }
}

// Takes the checker off the deny list, whichever subject put it there.
void Machine::allow_all(const std::string& name) {
  guest::model_revoke(name, LLMOS_SUBJECT_UID, 0, LLMOS_REVOKE_ALLOW);
  guest::model_revoke(name, LLMOS_SUBJECT_PID, getpid(), LLMOS_REVOKE_ALLOW);
}

void Machine::check_model(const std::string& name) {
  allow_all(name);
  const auto stat = guest::stat_of(name);
  const Fd fd = guest::open_model(name);
  if (stat.state == LLMOS_STATE_EVICTED) {
    if (fd >= 0 || errno != ESTALE) problem(name, " is evicted, but can be opened");
    if (stat.resident) problem(name, " is evicted, but holds ", stat.resident, " bytes");
    return;
  }
  if (stat.state != LLMOS_STATE_SEALED) return problem(name, " has a name and state ", stat.state);
  if (fd < 0) return problem(name, " cannot be opened: ", guest::error_name(errno));
  const auto measured = guest::measured_digest(fd), computed = guest::verity_digest(fd, stat.bytes);
  if (!measured || !computed) return problem(name, " cannot be read: ", guest::error_name(errno));
  if (*measured != *computed) problem(name, ": its bytes do not have its digest");
}

void Machine::check_models() {
  for (const auto& name : guest::list_models()) {
    check_model(name);
    if (guest::model_remove(name)) problem("removing ", name, ": ", guest::error_name(errno));
  }
  if (const auto left = guest::query().models) problem(left, " models have a name, but none is listed");
  if (!guest::eventually([] { return guest::memory_current() == 0; }))
    problem("no model is left, but memory.current is ", guest::memory_current());
}

void Machine::check_device(const std::string& id) {
  const auto left = guest::read_number(guest::device_file(id, "memory.current"));
  if (left) problem("device ", id, " still has ", left, " bytes charged");
  const auto lanes = guest::read_file(guest::device_file(id, "lanes.stat"));
  if (!lanes.starts_with("running 0\nwaiting 0\n")) problem("device ", id, " still has turns: ", lanes);
  for (const auto& group : fs::recursive_directory_iterator(guest::groups_dir + "/fuzz"))
    if (group.path().filename() == "memory.current" && guest::bytes_of(group.path(), id))
      problem(group.path(), " is ", guest::read_file(group.path()));
}

// Every process is gone, so nothing may be charged; a device that was removed tells when it comes back.
void Machine::check_devices() {
  if (!guest::eventually([] { return guest::read_number("/sys/fs/llmos/lanes/current") == 0; }))
    problem(guest::read_file("/sys/fs/llmos/lanes/current"), " lanes are left");
  check_device("cpu");
  for (unsigned i = 0; i < devices; i++) {
    const std::string id = "fuzz" + std::to_string(i);
    if (guest::device_add(id) && errno != EEXIST) problem("adding device ", id, ": ", guest::error_name(errno));
    check_device(id);
    if (guest::device_remove(id)) problem("removing device ", id, ": ", guest::error_name(errno));
  }
}

// Those that were loaded and attached are gone with their pins and the processes that attached them.
void Machine::check_policies() {
  if (policies_.programs.empty()) return;
  for (const std::string hook : {"lane_key", "lane_slice", "evict_score", "admit"}) {
    std::string counts = guest::read_file("/sys/fs/llmos/hooks/" + hook);
    std::ranges::replace(counts, '\n', ' ');
    printf("hook %s: %s\n", hook.c_str(), counts.c_str());
  }
  fs::remove_all(policy_pins);
}

void Machine::check_memory() {
  const int64_t now = guest::unaccounted_memory(), more = now - unaccounted_;
  printf("memory that nobody accounts for: %+ld KiB\n", more / 1024);
  if (more > guest::unaccounted_tolerance()) problem(more / 1024, " KiB of memory were lost");
}

std::vector<std::string> Machine::check() {
  unmount();
  guest::must_write(guest::memory_max_file, "256M");
  check_models();
  check_devices();
  for (const auto& entry : fs::directory_iterator(cgroups))
    if (entry.is_directory()) rmdir(entry.path().c_str());
  rmdir(cgroups.c_str());
  close(guest::device());  // it holds the module, and so do policies
  check_policies();
  if (const auto text = guest::reload_module(); !text.empty()) problem(text);
  check_memory();
  return std::move(problems_);
}

}  // namespace llmos::fuzz
