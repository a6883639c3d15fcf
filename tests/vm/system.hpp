// SPDX-License-Identifier: MIT
// What the tests read from the machine around the module, and set in it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "guest.hpp"

namespace llmos::guest {

// ---- files of /proc, /sys and the like ----

std::string read_file(const std::string& path);
uint64_t read_number(const std::string& path);                     // "max" is UINT64_MAX
int write_file(const std::string& path, const std::string& text);  // like write(): -1 and errno
void must_write(const std::string& path, const std::string& text);
bool exists(const std::string& path);

// Sets a file's text, and puts the old one back.
class Setting {
 public:
  Setting(std::string path, const std::string& text);
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;
  ~Setting();

 private:
  std::string path_, saved_;
};

inline const std::string memory_max_file = "/sys/fs/llmos/memory.max";
uint64_t memory_current();                 // bytes that all models take
uint64_t meminfo(const std::string& key);  // bytes, e.g. "MemAvailable"

// Bytes of a line of /proc/PID/smaps for the mapping at `address`, e.g. "FilePmdMapped".
uint64_t smaps(const void* address, const std::string& key, const std::string& pid = "self");
std::string vm_flags(const void* address);
// For each 4 KiB page: its page frame, 0 where none is mapped. Needs root.
std::vector<uint64_t> page_frames(const void* address, uint64_t bytes);

// Waits until it becomes true; false when it did not within the time.
bool eventually(const std::function<bool()>& condition, double seconds = 10);

// ---- programs ----

struct Output {
  int status;        // of the shell: 128 + signal when killed by one
  std::string text;  // standard output and error together
};
Output shell(const std::string& command);
std::string must_shell(const std::string& command);  // its output without the last newline
bool have_program(const std::string& name);

// ---- cgroups ----

// A new cgroup below the root or another one, removed at the end with what is below it.
class Cgroup {
 public:
  explicit Cgroup(const std::string& name, const std::string& parent = "/sys/fs/cgroup");
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;
  ~Cgroup();

  const std::string& path() const { return path_; }
  uint64_t id() const;  // inode number
  void enter() const;   // this process
  void set(const std::string& file, const std::string& text) const { must_write(path_ + "/" + file, text); }
  uint64_t number(const std::string& file) const { return read_number(path_ + "/" + file); }
  uint64_t event(const std::string& name) const;  // of memory.events
  Fd open() const;

 private:
  std::string path_;
};

// ---- scratch files, on ext4 on a disk of its own ----

inline const std::string scratch = "/scratch";

class ScratchFile {
 public:
  // With `bytes`: full of the pattern.
  explicit ScratchFile(const std::string& name, uint64_t bytes = 0, uint64_t seed = 0);
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;
  ~ScratchFile();
  const std::string& path() const { return path_; }
  Fd open(int flags = O_RDONLY) const;

 private:
  std::string path_;
};

// ---- device mapper: disks that fail or are slow, without dmsetup ----

class MappedDisk {
 public:
  struct Target {
    uint64_t bytes;
    std::string type;  // "zero", "error", "linear", "delay"
    std::string arguments;
  };
  // Throws std::system_error with ENODEV when the kernel has no device mapper or no such target.
  MappedDisk(const std::string& name, const std::vector<Target>& targets);
  MappedDisk(const MappedDisk&) = delete;
  MappedDisk& operator=(const MappedDisk&) = delete;
  ~MappedDisk();
  Fd open(int flags) const;

 private:
  std::string name_;
  uint32_t minor_ = 0;
};

// A loop device over a file of this size, full of the pattern.
class LoopDisk {
 public:
  explicit LoopDisk(const std::string& name, uint64_t bytes, uint64_t seed = 0);
  LoopDisk(const LoopDisk&) = delete;
  LoopDisk& operator=(const LoopDisk&) = delete;
  ~LoopDisk();
  const std::string& path() const { return path_; }  // /dev/loopN
  std::string number() const;                        // "7:N"

 private:
  ScratchFile file_;
  std::string path_;
};

// ---- races made wider ----

// While it lives, each call of that kernel function begins with a busy wait: a kprobe with a small BPF program.
class SlowFunction {
 public:
  explicit SlowFunction(const std::string& function);

 private:
  Fd program_, probe_;
};

}  // namespace llmos::guest
