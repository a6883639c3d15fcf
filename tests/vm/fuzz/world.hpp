// SPDX-License-Identifier: MIT
// What the random calls act on: what all processes share, and the descriptors and the address space of one process,
// which its threads share without any lock, so that they meet in the kernel as badly as they can.
#pragma once

#include <setjmp.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../guest.hpp"
#include "random.hpp"

namespace llmos::fuzz {

inline constexpr unsigned processes_max = 16, threads_max = 8, calls_max = 256;

struct Counter {
  std::atomic<uint64_t> good, bad, nanoseconds;
  std::atomic<uint64_t> errors[134];  // by errno; 0: some other
};

// In memory that all processes map.
struct Shared {
  std::atomic<bool> stop;
  std::atomic<bool> pressing;  // somebody makes memory short; one at a time
  std::atomic<int> pid[processes_max];
  std::atomic<uint64_t> next[processes_max][threads_max];  // number of the thread's next call
  Counter counters[calls_max];
  std::atomic<bool> violated;
  char violation[512];
};

struct Options {
  uint64_t seed = 1;
  uint64_t calls = 100000;
  unsigned processes = 4;
  unsigned threads = 2;
  bool faults = false;
  std::string folder = "/scratch/fuzz";
};

// Kinds of descriptors that a process keeps for later calls.
enum class Kind { device, loader, model, source, dmabuf, pipe, folder, cgroup, charge, lane, policy, other };
inline constexpr size_t kinds = 12, fds_per_kind = 8;

// Windows of address space at fixed places, far from where the kernel puts anything: a call that races with another
// one's munmap() cannot hit the heap.
inline constexpr size_t windows = 8, window_size = 32 * guest::MiB;

inline constexpr unsigned names = 12;  // models are called m0 to m11

// What bpftool has pinned: programs to attach, and their maps.
inline const std::string policy_pins = "/sys/fs/bpf/llmos-fuzz";
struct PolicyPins {
  std::vector<std::string> programs, maps;
};
bool have_policies();  // and a kernel that takes them
PolicyPins load_policies();

class World {
 public:
  World(Shared& shared, const Options& options, const PolicyPins& policies, unsigned process, std::array<int, 2> post);

  Shared& shared;
  const Options& options;
  const PolicyPins& policies;
  const unsigned process;
  const std::array<int, 2> post;  // a socket pair of all processes, for passing descriptors

  // A descriptor kept under that kind, mostly; sometimes another one, or no descriptor at all.
  int fd(Random& random, Kind kind) const;
  // Keeps it in place of another one. -1 is passed through as -errno.
  long keep(Random& random, Kind kind, int fd);
  long drop(Random& random, Kind kind);

  static std::byte* window(size_t index);
  static std::byte* address(Random& random);  // in a window, mostly near its begin and page-aligned
  static size_t length(Random& random);
  // Half of the time of a model that this process may have made itself; now and then no good name.
  void name(Random& random, char (&out)[LLMOS_NAME_SIZE]) const;
  std::string path(Random& random) const;

  void* buffer(Random& random) const;  // to read into or write from: 64 KiB that are there and end at a hole, mostly
  static constexpr size_t buffer_size = 64 * guest::KiB;

  // Something that must not happen did: stops all processes, and fails the run with this text.
  void violation(const std::string& text);

 private:
  std::array<std::array<std::atomic<int>, fds_per_kind>, kinds> fds_;
};

// A kind of call. `run` returns what the system call returned, or -errno.
inline constexpr bool hopeless = true;
struct Call {
  const char* name;
  unsigned weight;
  long (*run)(World&, Random&);
  bool never_succeeds = false;
};

std::vector<Call> model_calls();
std::vector<Call> composite_calls();
std::vector<Call> file_calls();
std::vector<Call> folder_calls();
std::vector<Call> group_calls();
std::vector<Call> lane_calls();
std::vector<Call> memory_calls();
std::vector<Call> policy_calls();
std::vector<Call> uring_calls();
std::vector<Call> system_calls();

// Of few devices, so that everybody meets on them; now and then no good id.
void device_id(Random& random, char (&out)[LLMOS_DEVICE_ID_SIZE]);
inline constexpr unsigned devices = 4;

inline long result(long value) { return value < 0 ? -errno : value; }

// Runs `access`; false when it raised SIGBUS or SIGSEGV.
struct FaultPoint {
  sigjmp_buf place;
  volatile bool armed;
};
FaultPoint& fault_point();  // the thread's
template <typename Access>
bool survives(Access access) {
  FaultPoint& point = fault_point();
  const bool faulted = sigsetjmp(point.place, 0);
  point.armed = !faulted;
  if (!faulted) access();
  point.armed = false;
  return !faulted;
}
void catch_faults(bool injected);  // once per process; will allocations of the kernel be made to fail?

}  // namespace llmos::fuzz
