// SPDX-License-Identifier: MIT
// CPUs for a lane's holder beside hogs: how long its steps take, and how many it does, under the kernel's own scheduler
// as it is, with its nice value, with its cgroup's weight, and under scx_llmos. Run by tools/bench scheduling.
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <vector>

#include "../vm/process.hpp"
#include "../vm/scheduler.hpp"
#include "program.hpp"
#include "series.hpp"

namespace llmos::bench {
namespace {

using guest::Cgroup, guest::Child, guest::Lane, guest::Scheduler, guest::TestDevice;
using Clock = std::chrono::steady_clock;

struct Options {
  unsigned rounds = 5;
  unsigned hogs = 2;     // for each CPU
  double seconds = 4;    // of each measurement
  double work_ms = 1;    // of CPU time, of each of the two threads of a step, each time
  double device_ms = 1;  // that the device works, each time
  unsigned times = 2;    // device and CPU in turn, in a step
  double pause_ms = 2;   // between steps
};

void compute(uint64_t iterations) {
  for (volatile uint64_t i = 0; i < iterations;) i = i + 1;
}

// Iterations in so much time, where nobody else wants the CPU.
uint64_t calibrate(double ms) {
  constexpr uint64_t kProbe = 2'000'000;
  double least = 1e18;
  for (int i = 0; i < 5; i++) {
    const auto begin = Clock::now();
    compute(kProbe);
    least = std::min(least, std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
  }
  return static_cast<uint64_t>(ms / least * kProbe);
}

// The second thread of the holder's process: half of each computation.
class Worker {
 public:
  explicit Worker(uint64_t iterations) : thread_([this, iterations] { loop(iterations); }) {}
  ~Worker() {
    asked_ = UINT32_MAX;
    asked_.notify_one();
    thread_.join();
  }
  void begin() {
    asked_++;
    asked_.notify_one();
  }
  void finish() const {
    for (uint32_t done; (done = done_) != asked_;) done_.wait(done);
  }

 private:
  void loop(uint64_t iterations) {
    for (uint32_t turn = 0;; turn++) {
      asked_.wait(turn);
      if (asked_ == UINT32_MAX) return;
      compute(iterations);
      done_++;
      done_.notify_one();
    }
  }
  std::atomic<uint32_t> asked_ = 0, done_ = 0;
  std::thread thread_;
};

void must(bool good, const char* what) {
  if (!good) guest::throw_errno(what);
}

void rest(double ms) { std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(ms)); }

// From asking for the turn to its end, in nanoseconds.
int64_t step(const Lane& lane, Worker& worker, uint64_t iterations, const Options& options) {
  const auto begin = Clock::now();
  must(!lane.acquire(), "acquire");
  for (unsigned i = 0; i < options.times; i++) {
    rest(options.device_ms);
    worker.begin();
    compute(iterations);
    worker.finish();
  }
  must(!lane.release(), "release");
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - begin).count();
}

struct Measured {
  Series steps_ms;
  double hogs_cpus = 0;  // that the hogs had
};

enum class Method { no_hogs, eevdf, nice, weight, ours };
const std::map<Method, const char*> kNames = {{Method::no_hogs, "EEVDF, no hogs"},
                                              {Method::eevdf, "EEVDF"},
                                              {Method::nice, "EEVDF, nice -10"},
                                              {Method::weight, "EEVDF, cpu.weight 10000"},
                                              {Method::ours, "scx_llmos"}};

// In its cgroup, where it has one; tells how many steps there were, and then each.
void hold(Child::Parent& parent, const TestDevice& device, Method method, const Cgroup* cgroup, uint64_t iterations,
          const Options& options) {
  if (cgroup) cgroup->enter();
  if (method == Method::nice) must(!setpriority(PRIO_PROCESS, 0, -10), "setpriority");
  const Lane lane(device);
  Worker worker(iterations);
  std::vector<int64_t> steps;
  parent.tell();
  parent.wait();
  for (const auto begin = Clock::now();
       std::chrono::duration<double>(Clock::now() - begin).count() < options.seconds;) {
    steps.push_back(step(lane, worker, iterations, options));
    rest(options.pause_ms);
  }
  parent.tell(static_cast<int64_t>(steps.size()));
  for (const int64_t one : steps) parent.tell(one);
}

double cpu_seconds(pid_t pid) {
  clockid_t clock;
  timespec time;
  must(!clock_getcpuclockid(pid, &clock) && !clock_gettime(clock, &time), "clock_gettime");
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

std::vector<std::unique_ptr<Child>> make_hogs(unsigned count, const Cgroup* cgroup) {
  std::vector<std::unique_ptr<Child>> hogs;
  while (hogs.size() < count) {
    hogs.push_back(std::make_unique<Child>([&](Child::Parent& parent) {
      if (cgroup) cgroup->enter();
      parent.tell();
      compute(UINT64_MAX);
    }));
    hogs.back()->wait();
  }
  return hogs;
}

Measured measure(const TestDevice& device, Method method, uint64_t iterations, const Options& options) {
  std::optional<Cgroup> lanes, others;
  std::optional<Scheduler> scheduler;
  if (method == Method::weight) {
    lanes.emplace("bench-lanes");
    others.emplace("bench-hogs");
    lanes->set("cpu.weight", "10000");
  }
  if (method == Method::ours) scheduler.emplace();
  Child holder(
      [&](Child::Parent& parent) { hold(parent, device, method, lanes ? &*lanes : nullptr, iterations, options); });
  holder.wait();
  const unsigned count = method == Method::no_hogs ? 0 : options.hogs * std::thread::hardware_concurrency();
  const auto hogs = make_hogs(count, others ? &*others : nullptr);
  const auto used = [&] {
    double sum = 0;
    for (const auto& hog : hogs) sum += cpu_seconds(hog->pid());
    return sum;
  };
  const auto begin = Clock::now();
  const double before = used();
  holder.tell();
  Measured measured;
  const int64_t steps = holder.wait();
  measured.hogs_cpus = (used() - before) / std::chrono::duration<double>(Clock::now() - begin).count();
  for (const auto& hog : hogs) hog->kill();
  for (int64_t i = 0; i < steps; i++) measured.steps_ms.push_back(static_cast<double>(holder.wait()) / 1e6);
  holder.join();
  std::ranges::sort(measured.steps_ms);
  return measured;
}

using Rounds = std::map<Method, std::map<std::string, Series>>;

void measure_round(const TestDevice& device, uint64_t iterations, const Options& options, Rounds& all) {
  for (const auto& [method, name] : kNames) {
    if (method == Method::ours && !(guest::have_policies() && guest::have_sched_ext())) continue;
    const Measured measured = measure(device, method, iterations, options);
    const Series& steps = measured.steps_ms;
    all[method]["p50_ms"].push_back(steps[steps.size() / 2]);
    all[method]["p99_ms"].push_back(steps[steps.size() * 99 / 100]);
    all[method]["steps_per_s"].push_back(static_cast<double>(steps.size()) / options.seconds);
    all[method]["hogs_cpus"].push_back(measured.hogs_cpus);
  }
}

// Of each scheduler what was measured, and its ratios to the kernel's own without hogs, round by round.
nlohmann::ordered_json run(const Options& options) {
  const TestDevice device("bench");
  const uint64_t iterations = calibrate(options.work_ms);
  Rounds all;
  for (unsigned round = 0; round < options.rounds; round++) {
    measure_round(device, iterations, options, all);
    fprintf(stderr, "round %u of %u\n", round + 1, options.rounds);
  }
  nlohmann::ordered_json json;
  for (auto& [method, series] : all) {
    auto& one = json[kNames.at(method)];
    for (const char* field : {"p50_ms", "p99_ms", "steps_per_s", "hogs_cpus"}) one[field] = spread(series[field]);
    for (const char* field : {"p50_ms", "p99_ms", "steps_per_s"})
      one["to_no_hogs"][field] = spread(ratio(series[field], all[Method::no_hogs][field]));
  }
  return json;
}

void print(const nlohmann::ordered_json& json, const Options& options) {
  printf("%s\n%u rounds of %.0f s: median (lowest-highest). %u hogs on each CPU\n", machine_line().c_str(),
         options.rounds, options.seconds, options.hogs);
  printf("A step: %u times %.1f ms of a device and %.1f ms of two threads; %.1f ms of pause after it\n\n",
         options.times, options.device_ms, options.work_ms, options.pause_ms);
  const char* row = "%-26s %20s %20s %20s %20s\n";
  const auto& schedulers = json["schedulers"];
  printf(row, "ms", "step, p50", "p99", "steps/s", "CPUs of the hogs");
  for (const auto& [name, one] : schedulers.items())
    printf(row, name.c_str(), spread_text(one["p50_ms"], 1, 1).c_str(), spread_text(one["p99_ms"], 1, 1).c_str(),
           spread_text(one["steps_per_s"], 1, 0).c_str(), spread_text(one["hogs_cpus"]).c_str());
  printf("\n");
  printf(row, "ratio to no hogs", "step, p50", "p99", "steps/s", "");
  for (const auto& [name, one] : schedulers.items())
    printf(row, name.c_str(), spread_text(one["to_no_hogs"]["p50_ms"]).c_str(),
           spread_text(one["to_no_hogs"]["p99_ms"]).c_str(), spread_text(one["to_no_hogs"]["steps_per_s"]).c_str(), "");
  if (!schedulers.contains("scx_llmos")) printf("\nNo sched_ext in this kernel: nothing of scx_llmos.\n");
}

}  // namespace
}  // namespace llmos::bench

int main(int argc, char** argv) {
  llmos::bench::Options options;
  bool as_json = false;
  CLI::App app("Measure steps of a lane's holder beside CPU hogs. Run as root in a machine of its own.",
               "bench_scheduling");
  app.add_option("--rounds", options.rounds)->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--hogs", options.hogs, "for each CPU")->check(CLI::Range(1, 64))->capture_default_str();
  app.add_option("--seconds", options.seconds, "of each measurement")
      ->check(CLI::Range(0.5, 600.0))
      ->capture_default_str();
  app.add_flag("--json", as_json);
  return llmos::bench::run_program(app, argc, argv, [&] {
    nlohmann::ordered_json json = llmos::bench::conditions("scheduling");
    json["rounds"] = options.rounds;
    json["hogs_of_each_cpu"] = options.hogs;
    json["schedulers"] = llmos::bench::run(options);
    if (as_json)
      printf("%s\n", json.dump(2).c_str());
    else
      llmos::bench::print(json, options);
  });
}
