// SPDX-License-Identifier: MIT
// llmos-fuzz: random calls on the module, in random order, from several processes, threads and users at once.
//
// Which calls a thread makes, and with what arguments, follows from the seed alone; how they meet, from the scheduler.
// At the end everything that must hold whatever was called is checked. The kernel's own complaints are tools/vm's to see.
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <new>
#include <thread>

#include "../process.hpp"
#include "../system.hpp"
#include "machine.hpp"
#include "world.hpp"

namespace llmos::fuzz {

using Clock = std::chrono::steady_clock;

static constexpr auto stuck_after = std::chrono::minutes(5);

static double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

static std::vector<Call> all_calls() {
  std::vector<Call> all;
  for (const auto& some : {model_calls(), composite_calls(), file_calls(), folder_calls(), memory_calls(),
                           group_calls(), lane_calls(), policy_calls(), uring_calls(), system_calls()})
    all.insert(all.end(), some.begin(), some.end());
  return all;
}

// ---- a process ----

// Makes the n-th allocation of the thread's next system calls fail.
class FaultInjection {
 public:
  explicit FaultInjection(bool wanted) {
    if (!wanted) return;
    const guest::Fd fd(open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC));
    fd_ = guest::Fd(fcntl(fd, F_DUPFD_CLOEXEC, 900));
    if (fd_ < 0) guest::throw_errno("/proc/thread-self/fail-nth: is this the debug kernel?");
  }
  void set(uint64_t n) {
    if (fd_ < 0) return;
    char text[24];
    const int length = snprintf(text, sizeof(text), "%lu", n);
    for (int tries = 3; pwrite(fd_, text, length, 0) < 0; tries--)
      if (!tries) _exit(97);  // the n-th may have been in this call
  }

 private:
  guest::Fd fd_;
};

class Worker {
 public:
  Worker(World& world, const std::vector<Call>& calls) : world_(world), calls_(calls) {
    for (const Call& call : calls_) weight_ += call.weight;
  }

  // Descriptors to begin with.
  void prepare() {
    for (const char* name : {"open device", "open source", "pipe", "open folder", "open cgroup", "create",
                             "make a model", "open model", "add device", "charge", "make lane"})
      for (uint64_t i = 0; i < 2 * fds_per_kind; i++) {
        Random random({world_.options.seed, world_.process, ~i});
        calls_[index(name)].run(world_, random);
      }
  }

  void run() {
    std::vector<std::thread> threads;
    for (unsigned thread = 0; thread < world_.options.threads; thread++)
      threads.emplace_back([this, thread] { run_thread(thread); });
    for (std::thread& thread : threads) thread.join();
  }

 private:
  size_t index(const std::string& name) const {
    for (size_t i = 0; i < calls_.size(); i++)
      if (calls_[i].name == name) return i;
    throw std::logic_error("no call named " + name);
  }

  size_t choose(Random& random) const {
    uint64_t left = random.below(weight_);
    size_t i = 0;
    while (left >= calls_[i].weight) left -= calls_[i++].weight;
    return i;
  }

  void run_thread(unsigned thread) {
    const Options& options = world_.options;
    const uint64_t share = options.calls / (options.processes * options.threads);
    FaultInjection faults(options.faults);
    auto& next = world_.shared.next[world_.process][thread];
    while (!world_.shared.stop && next < share) {
      Random random({options.seed, world_.process, thread, next++});
      run_call(random, faults);
    }
  }

  void run_call(Random& random, FaultInjection& faults) {
    const size_t chosen = choose(random);
    const uint64_t nth = random.below(60);
    const auto begin = Clock::now();
    long ret = -ENOMEM;
    faults.set(nth < 30 ? nth : 0);
    try {
      ret = calls_[chosen].run(world_, random);
    } catch (const std::bad_alloc&) {  // by an injected fault
    }
    faults.set(0);
    Counter& counter = world_.shared.counters[chosen];
    (ret < 0 ? counter.bad : counter.good)++;
    if (ret < 0) counter.errors[ret > -static_cast<long>(std::size(counter.errors)) ? -ret : 0]++;
    counter.nanoseconds += std::chrono::nanoseconds(Clock::now() - begin).count();
  }

  World& world_;
  const std::vector<Call>& calls_;
  uint64_t weight_ = 0;
};

static guest::Identity identity(unsigned process) {
  const group* llmos = getgrnam("llmos");
  const gid_t gid = llmos ? llmos->gr_gid : 0;
  if (process % 2 == 0) return guest::root;
  const uid_t uid = process % 4 == 1 ? 1000 : 1001;
  return {uid, uid, {gid}};
}

static void be_worker(Shared& shared, const Options& options, const PolicyPins& policies,
                      const std::vector<Call>& calls, unsigned process, std::array<int, 2> post) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  setpgid(0, 0);
  for (int harmless : {SIGPIPE, SIGIO, SIGURG}) signal(harmless, SIG_IGN);
  guest::write_file("/proc/self/oom_score_adj", "0");
  if (options.faults) guest::must_write("/proc/self/make-it-fail", "1");
  guest::become(identity(process));
  prctl(PR_SET_DUMPABLE, 1);
  catch_faults(options.faults);
  World world(shared, options, policies, process, post);
  Worker worker(world, calls);
  worker.prepare();
  worker.run();
}

// ---- all processes ----

class Supervisor {
 public:
  Supervisor(Shared& shared, const Options& options, const PolicyPins& policies, const std::vector<Call>& calls)
      : shared_(shared), options_(options), policies_(policies), calls_(calls) {
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, post_.data())) guest::throw_errno("socketpair");
  }
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  void run() {
    for (unsigned process = 0; process < options_.processes; process++) start(process);
    while (running_ && !shared_.stop) {
      watch();
      usleep(20000);
    }
    for (unsigned process = 0; process < options_.processes; process++)
      if (shared_.stop && shared_.pid[process] > 0) kill(shared_.pid[process], SIGKILL);
    for (const pid_t group : groups_) kill(-group, SIGKILL);  // orphans of workers may sleep for ever
    while (wait(nullptr) > 0) {
    }
    for (const int end : post_) close(end);  // with the descriptors that nobody received
  }

  unsigned killed() const { return killed_; }

 private:
  void start(unsigned process) {
    fflush(nullptr);
    const pid_t child = fork();
    if (child < 0) guest::throw_errno("fork");
    if (child == 0) {
      try {
        be_worker(shared_, options_, policies_, calls_, process, post_);
        _exit(0);
      } catch (const std::exception& error) {
        fprintf(stderr, "fuzz: process %u: %s\n", process, error.what());
        _exit(96);
      }
    }
    setpgid(child, child);
    groups_.push_back(child);
    shared_.pid[process] = child;
    progress_[process] = Clock::now();
    running_++;
  }

  void watch() {
    siginfo_t info = {};
    while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid) {
      ended(info);
      info.si_pid = 0;
    }
    for (unsigned process = 0; process < options_.processes; process++) watch_progress(process);
  }

  // A worker, or an orphan of one.
  void ended(const siginfo_t& info) {
    unsigned process = 0;
    while (process < options_.processes && shared_.pid[process] != info.si_pid) process++;
    if (process < options_.processes) shared_.pid[process] = 0;  // before the number can become another one's
    waitpid(info.si_pid, nullptr, 0);
    if (process == options_.processes) return;
    running_--;
    shared_.pressing = false;
    if (info.si_code == CLD_EXITED && info.si_status == 0) return;
    // With faults, the kernel may find no page for a signal's frame; what it did wrong itself KASAN would tell.
    if (info.si_code == CLD_KILLED && (info.si_status == SIGKILL || (options_.faults && info.si_status == SIGSEGV))) {
      killed_++;
      start(process);
      return;
    }
    fail("process " + std::to_string(process) + (info.si_code == CLD_EXITED ? " exited with " : " died by signal ") +
         std::to_string(info.si_status));
  }

  void watch_progress(unsigned process) {
    uint64_t done = 0;
    for (unsigned thread = 0; thread < options_.threads; thread++) done += shared_.next[process][thread];
    if (done != done_[process] || shared_.pid[process] == 0) {
      done_[process] = done;
      progress_[process] = Clock::now();
    } else if (Clock::now() - progress_[process] > stuck_after) {
      printf("%s\n", guest::shell("cd /proc/" + std::to_string(shared_.pid[process]) +
                                  " && grep -H . task/*/wchan task/*/syscall task/*/stack; grep State task/*/status")
                         .text.c_str());
      fail("process " + std::to_string(process) + " is stuck");
    }
  }

  void fail(const std::string& text) {
    if (!shared_.violated.exchange(true)) snprintf(shared_.violation, sizeof(shared_.violation), "%s", text.c_str());
    shared_.stop = true;
  }

  Shared& shared_;
  const Options& options_;
  const PolicyPins& policies_;
  const std::vector<Call>& calls_;
  std::array<int, 2> post_;
  std::vector<pid_t> groups_;  // of processes: one for each worker that ever was
  std::array<uint64_t, processes_max> done_ = {};
  std::array<Clock::time_point, processes_max> progress_ = {};
  unsigned running_ = 0, killed_ = 0;
};

// ---- the report ----

static uint64_t calls_made(const Shared& shared, const Options& options) {
  uint64_t made = 0;
  for (unsigned process = 0; process < options.processes; process++)
    for (unsigned thread = 0; thread < options.threads; thread++) made += shared.next[process][thread];
  return made;
}

// The three commonest, as "EPERM 12, EINVAL 3".
static std::string errors(const Counter& counter) {
  std::vector<std::pair<uint64_t, int>> all;
  for (int error = 0; error < static_cast<int>(std::size(counter.errors)); error++)
    if (const uint64_t count = counter.errors[error]) all.emplace_back(count, error);
  std::ranges::sort(all, std::greater());
  std::string text;
  for (size_t i = 0; i < std::min<size_t>(3, all.size()); i++)
    text += (i ? ", " : "") + guest::error_name(all[i].second) + " " + std::to_string(all[i].first);
  return text;
}

static void print_counters(const Shared& shared, const std::vector<Call>& calls) {
  printf("%-20s %9s %9s %8s  %s\n", "call", "succeeded", "failed", "seconds", "how mostly");
  for (size_t i = 0; i < calls.size(); i++) {
    const Counter& counter = shared.counters[i];
    printf("%-20s %9lu %9lu %8.1f  %s\n", calls[i].name, counter.good.load(), counter.bad.load(),
           static_cast<double>(counter.nanoseconds) / 1e9, errors(counter).c_str());
  }
}

// A run in which nothing works proves nothing.
static std::vector<std::string> check_coverage(const Shared& shared, const std::vector<Call>& calls) {
  std::vector<std::string> problems;
  for (size_t i = 0; i < calls.size(); i++) {
    const uint64_t good = shared.counters[i].good, bad = shared.counters[i].bad;
    if (!calls[i].never_succeeds && good == 0 && bad > 500)
      problems.push_back(std::string("\"") + calls[i].name + "\" never succeeded");
  }
  return problems;
}

static Options parse(CLI::App& app, int argc, char** argv) {
  Options options;
  app.add_option("--seed", options.seed, "what the random calls follow from")->capture_default_str();
  app.add_option("--calls", options.calls, "of all processes together")->capture_default_str();
  app.add_option("--processes", options.processes)->check(CLI::Range(1U, processes_max))->capture_default_str();
  app.add_option("--threads", options.threads, "of each process")->check(CLI::Range(1U, threads_max))->capture_default_str();
  app.add_flag("--faults", options.faults, "let allocations fail (debug kernel)");
  app.add_option("--folder", options.folder, "for files to fill models from")->capture_default_str();
  app.parse(argc, argv);
  return options;
}

static int run(const Options& options) {
  const auto calls = all_calls();
  void* const memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto& shared = *new (memory) Shared();
  Machine machine(options);
  printf("seed %lu, %lu calls by %u processes of %u threads%s\n", options.seed, options.calls, options.processes,
         options.threads, options.faults ? ", with faults" : "");
  fflush(stdout);

  const auto begin = Clock::now();
  Supervisor supervisor(shared, options, machine.policies(), calls);
  supervisor.run();
  const double seconds = seconds_since(begin);
  const uint64_t made = calls_made(shared, options);
  print_counters(shared, calls);
  printf("seed %lu: %lu calls in %.0f s, %.0f a second; %u processes were killed and started again\n", options.seed,
         made, seconds, made / seconds, supervisor.killed());

  auto problems = check_coverage(shared, calls);
  if (shared.violated) problems.emplace_back(shared.violation);
  for (auto& problem : machine.check()) problems.push_back(std::move(problem));
  for (const auto& problem : problems) printf("FAILED: %s\n", problem.c_str());
  if (problems.empty()) printf("nothing is wrong\n");
  return problems.empty() ? 0 : 1;
}

}  // namespace llmos::fuzz

int main(int argc, char** argv) {
  CLI::App app("Random calls on the llmos module, from a seed. Run as root in a machine that may break.", "llmos-fuzz");
  try {
    return llmos::fuzz::run(llmos::fuzz::parse(app, argc, argv));
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const std::exception& error) {
    fprintf(stderr, "llmos-fuzz: %s\n", error.what());
    return 2;
  }
}
