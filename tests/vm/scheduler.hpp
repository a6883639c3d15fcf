// SPDX-License-Identifier: MIT
// The scheduler of CPUs that comes with llmos, attached by stock bpftool; and what a scheduler is told of tasks.
#pragma once

#include <linux/bpf.h>
#include <sys/syscall.h>

#include <string>

#include "policy.hpp"

namespace llmos::guest {

inline const std::string sched_ext_dir = "/sys/kernel/sched_ext/";

inline bool have_sched_ext() { return exists(sched_ext_dir + "state"); }
inline std::string sched_ext_state() {
  const std::string text = read_file(sched_ext_dir + "state");
  return text.substr(0, text.find('\n'));
}

// Attached while it lives. What it counted, and its end, are forgotten with it.
class Scheduler {
 public:
  Scheduler() {
    must_shell("mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf; mkdir -p " + pins_dir);
    // Its verification is long, and where hogs share the CPUs with it a debug kernel's takes many minutes.
    must_shell("nice -n -20 bpftool struct_ops register " + policies_dir + "scx_llmos.bpf.o " + pins());
  }
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;
  ~Scheduler() {
    detach();
    shell("rm -f /sys/fs/bpf/llmos_scx_*");
  }

  // Returns whether EEVDF is back.
  bool detach() const {
    shell("rm -rf " + pins());
    return eventually([] { return sched_ext_state() == "disabled"; });
  }
  std::string dump(const std::string& map) const {
    return must_shell("bpftool -j map dump pinned /sys/fs/bpf/llmos_scx_" + map);
  }
  void set_knobs(uint64_t lanes_slice_ns, uint64_t others_slice_ns, uint64_t lanes_max_ns,
                 uint64_t prepare_ns = 0) const {
    must_shell("bpftool map update pinned /sys/fs/bpf/llmos_scx_knobs key 0 0 0 0 value " + bytes_of(lanes_slice_ns) +
               bytes_of(others_slice_ns) + bytes_of(lanes_max_ns) + bytes_of(prepare_ns));
  }
  // Of all CPUs together.
  uint64_t counted(const std::string& field) const {
    const std::string text = dump("stats"), sought = "\"" + field + "\":";
    uint64_t sum = 0;
    for (auto at = text.find(sought); at != std::string::npos; at = text.find(sought, at + 1))
      sum += std::stoull(text.substr(at + sought.size()));
    return sum;
  }

 private:
  static std::string pins() { return pins_dir + "scx_llmos"; }
};

// Asks for the class of tasks, as a scheduler would.
class ClassProbe {
 public:
  ClassProbe() {
    must_shell("mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf; mkdir -p " + pins_dir);
    must_shell("bpftool prog loadall " + policies_dir + "task_class.bpf.o " + pins());
    program_ = open("task_class");
  }
  ClassProbe(const ClassProbe&) = delete;
  ClassProbe& operator=(const ClassProbe&) = delete;
  ~ClassProbe() { shell("rm -rf " + pins()); }

  // LLMOS_TASK_*, or -ESRCH.
  int of(pid_t thread) const { return run(program_, thread); }
  int of_no_task() const { return run(open("no_task"), 1); }

 private:
  static std::string pins() { return pins_dir + "task_class"; }
  static long bpf(int command, bpf_attr& attr) { return syscall(SYS_bpf, command, &attr, sizeof(attr)); }
  static Fd open(const std::string& name) {
    const std::string path = pins() + "/" + name;
    bpf_attr attr = {};
    attr.pathname = reinterpret_cast<uint64_t>(path.c_str());
    Fd fd(static_cast<int>(bpf(BPF_OBJ_GET, attr)));
    if (fd < 0) throw_errno(path);
    return fd;
  }
  static int run(int program, int32_t argument) {
    bpf_attr attr = {};
    attr.test.prog_fd = static_cast<uint32_t>(program);
    attr.test.ctx_in = reinterpret_cast<uint64_t>(&argument);
    attr.test.ctx_size_in = sizeof(argument);
    if (bpf(BPF_PROG_TEST_RUN, attr)) throw_errno("BPF_PROG_TEST_RUN");
    return static_cast<int>(attr.test.retval);
  }
  Fd program_;
};

enum TaskClass { none = 0, feeds = 1, holds = 2 };

}  // namespace llmos::guest
