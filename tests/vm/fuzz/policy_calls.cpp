// SPDX-License-Identifier: MIT
// Policies that come and go while everybody works, with anything in their maps; and what a scheduler is told of
// threads. Only root gets at them. bpftool has loaded and pinned them before: see Machine.
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "../policy.hpp"
#include "world.hpp"

namespace llmos::fuzz {

namespace fs = std::filesystem;
using guest::Fd;

bool have_policies() { return guest::have_policies(); }

static bool is_wanted(const std::string& file) {
  // One makes every load fail, the other is no policy of hooks.
  return file.ends_with(".bpf.o") && file != "limit.bpf.o" && !file.starts_with("scx_");
}

PolicyPins load_policies() {
  PolicyPins pins;
  guest::must_shell("mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf; mkdir " + policy_pins);
  for (const auto& entry : fs::directory_iterator(guest::policies_dir)) {
    const std::string file = entry.path().filename(), name = file.substr(0, file.find('.'));
    const std::string programs = policy_pins + "/" + name, maps = programs + "_maps";
    if (!is_wanted(file)) continue;
    guest::must_shell("bpftool prog loadall " + entry.path().native() + " " + programs + " pinmaps " + maps);
    for (const auto& pin : fs::directory_iterator(programs))
      if (name != "task_class") pins.programs.push_back(pin.path());
    if (!fs::exists(maps)) continue;
    for (const auto& pin : fs::directory_iterator(maps)) pins.maps.push_back(pin.path());
  }
  std::ranges::sort(pins.programs);
  std::ranges::sort(pins.maps);
  return pins;
}

static int bpf(int command, bpf_attr& attr) { return static_cast<int>(syscall(SYS_bpf, command, &attr, sizeof(attr))); }

static Fd open_pin(const std::string& path) {
  bpf_attr attr = {};
  attr.pathname = reinterpret_cast<uint64_t>(path.c_str());
  return Fd(bpf(BPF_OBJ_GET, attr));
}

// A program of those is attached once at most. Its descriptor goes to the others, or is closed.
static long attach_policy(World& world, Random& random) {
  const Fd program = open_pin(random.one_of(world.policies.programs));
  bpf_attr attr = {};
  attr.raw_tracepoint.prog_fd = static_cast<uint32_t>(program);
  if (program < 0) return -errno;
  return world.keep(random, Kind::policy, bpf(BPF_RAW_TRACEPOINT_OPEN, attr));
}

static long detach_policy(World& world, Random& random) { return world.drop(random, Kind::policy); }

// Knobs, gates, weights, and what policies keep for themselves.
static long change_policy_map(World& world, Random& random) {
  const Fd map = open_pin(random.one_of(world.policies.maps));
  std::byte key[256] = {}, value[1024] = {};
  bpf_map_info info = {};
  bpf_attr query = {}, attr = {};
  query.info.bpf_fd = static_cast<uint32_t>(map);
  query.info.info_len = sizeof(info);
  query.info.info = reinterpret_cast<uint64_t>(&info);
  const uint64_t first = random.mostly(0, 90), word = random.garbage(), small = random.below(4);
  const int command =
      random.pick<int>({BPF_MAP_UPDATE_ELEM, BPF_MAP_UPDATE_ELEM, BPF_MAP_LOOKUP_ELEM, BPF_MAP_DELETE_ELEM});
  memcpy(key, &first, sizeof(first));
  for (size_t at = 0; at < sizeof(value); at += sizeof(word))
    memcpy(value + at, random.chance(50) ? &word : &small, sizeof(word));
  if (map < 0 || bpf(BPF_OBJ_GET_INFO_BY_FD, query)) return -errno;
  if (info.key_size > sizeof(key) || info.value_size > sizeof(value)) return -E2BIG;
  attr.map_fd = static_cast<uint32_t>(map);
  attr.key = reinterpret_cast<uint64_t>(key);
  attr.value = reinterpret_cast<uint64_t>(value);
  return result(bpf(command, attr));
}

// As a scheduler would, of those that work here, of others, and of no task.
static long ask_task_class(World& world, Random& random) {
  const Fd program =
      open_pin(policy_pins + "/task_class/" + random.pick({"task_class", "task_class", "task_class", "no_task"}));
  const int worker = world.shared.pid[random.below(world.options.processes)];
  const int32_t asked = static_cast<int32_t>(random.mostly(random.chance(50) ? gettid() : worker, 80));
  bpf_attr attr = {};
  attr.test.prog_fd = static_cast<uint32_t>(program);
  attr.test.ctx_in = reinterpret_cast<uint64_t>(&asked);
  attr.test.ctx_size_in = sizeof(asked);
  if (program < 0 || bpf(BPF_PROG_TEST_RUN, attr)) return -errno;
  const auto answer = static_cast<int32_t>(attr.test.retval);
  if (answer > 2) world.violation("a thread is of class " + std::to_string(answer));
  return answer;
}

std::vector<Call> policy_calls() {
  if (!have_policies()) return {};
  return {
      {"attach policy", 2, attach_policy},
      {"detach policy", 3, detach_policy},
      {"change policy's map", 25, change_policy_map},
      {"ask task's class", 10, ask_task_class},
  };
}

}  // namespace llmos::fuzz
