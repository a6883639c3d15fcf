// SPDX-License-Identifier: MIT
#include "measure.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "../vm/system.hpp"
#include "disk.hpp"

namespace llmos::bench {

using guest::Fd, guest::Mapping, guest::MiB;

// A process that uses a model, tells what it measured, and goes on holding it until it is dismissed.
class User {
 public:
  // `use` returns what is told; what it maps lives on.
  template <typename Body>
  explicit User(Body use) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) guest::throw_errno("pipe");
    told_ = Fd(ends[0]);
    const Fd tell(ends[1]);
    pid_ = fork();
    if (pid_ < 0) guest::throw_errno("fork");
    if (pid_) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
      const auto values = use();
      if (write(tell, values.data(), values.size() * sizeof(values[0])) > 0) pause();
    } catch (const std::exception& error) {
      fprintf(stderr, "bench: in a user: %s\n", error.what());
    }
    _exit(1);
  }
  ~User() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  User(const User&) = delete;
  User& operator=(const User&) = delete;

  pid_t pid() const { return pid_; }
  template <typename Value>
  std::vector<Value> wait(size_t count) const {
    std::vector<Value> values(count);
    const auto wanted = static_cast<ssize_t>(count * sizeof(Value));
    if (read(told_, values.data(), wanted) != wanted) throw std::runtime_error("a user ended before its time");
    return values;
  }

 private:
  pid_t pid_ = -1;
  Fd told_;
};

static int64_t page_tables() {
  std::istringstream status(guest::read_file("/proc/self/status"));
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmPTE:")) return std::stoll(line.substr(6)) * 1024;
  throw std::runtime_error("/proc/self/status has no VmPTE");
}

// Of this process: changing the rights of more pages than the kernel flushes one by one.
static void flush_tlb() {
  const Mapping pages(mmap(nullptr, MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0), MiB);
  mprotect(pages.data(), pages.size(), PROT_NONE);
}

static long faults() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

static Use use_once(const Backing& backing, uint64_t bytes) {
  const auto tables = static_cast<double>(page_tables());
  const long faults_before = faults();
  const double begin = now();
  const Mapping mapping(backing.open(), bytes);
  static_cast<void>(*static_cast<volatile std::byte*>(mapping.data()));
  const double first = now();
  mapping.touch();
  const double all = now();
  const auto taken = static_cast<double>(faults() - faults_before);
  flush_tlb();
  const double flushed = now();
  mapping.touch();
  return {first - begin, all - begin, now() - flushed, taken, static_cast<double>(page_tables()) - tables};
}

static Use least(const Use& a, const Use& b) {
  return {std::min(a.first, b.first), std::min(a.all, b.all), std::min(a.again, b.again),
          std::min(a.faults, b.faults), std::max(a.page_tables, b.page_tables)};
}

std::vector<Use> measure_use(const std::vector<Backing*>& backings, uint64_t bytes, unsigned times) {
  const User user([&] {
    std::vector<Use> uses;
    for (const Backing* const backing : backings) uses.push_back(use_once(*backing, bytes));
    for (unsigned i = 1; i < times; i++)
      for (size_t b = 0; b < backings.size(); b++) uses[b] = least(uses[b], use_once(*backings[b], bytes));
    return uses;
  });
  return user.wait<Use>(backings.size());
}

double measure_disk(const Source& source) {
  const Fd disk(open(source.path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (disk < 0) guest::throw_errno(source.path);
  const Mapping memory(mmap(nullptr, source.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                       source.bytes);
  madvise(memory.data(), memory.size(), MADV_HUGEPAGE);
  if (madvise(memory.data(), memory.size(), MADV_POPULATE_WRITE)) guest::throw_errno("memory to read into");
  DirectReader reader({memory.data(), memory.size()});
  const double begin = now();
  reader.read(disk);
  return now() - begin;
}

void press_memory() {
  constexpr uint64_t step = 16 * MiB, enough = 64 * MiB;
  const User hog([&] {
    guest::write_file("/proc/self/oom_score_adj", "1000");
    while (guest::meminfo("MemAvailable") > enough) {
      void* const more = mmap(nullptr, step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (more == MAP_FAILED) break;
      madvise(more, step, MADV_HUGEPAGE);
      if (madvise(more, step, MADV_POPULATE_WRITE)) break;
    }
    return std::vector<int>{0};
  });
  hog.wait<int>(1);
}

double measure_revoke(const Backing& llmos, uint64_t bytes, unsigned mappers) {
  std::vector<std::unique_ptr<User>> users;
  for (unsigned i = 0; i < mappers; i++) {
    users.push_back(std::make_unique<User>([&] {
      static const Mapping mapping(llmos.open(), bytes);
      mapping.touch();
      return std::vector<int>{0};
    }));
    users.back()->wait<int>(1);
  }
  const double begin = now();
  guest::revoke("bench", LLMOS_SUBJECT_PID, users.front()->pid(), LLMOS_REVOKE_KEEP_ACCESS);
  return now() - begin;
}

double load_average() {
  double one = 0;
  std::ifstream("/proc/loadavg") >> one;
  return one;
}

}  // namespace llmos::bench
