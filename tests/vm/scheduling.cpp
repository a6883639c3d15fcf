// SPDX-License-Identifier: MIT
// CPUs under scx_llmos: who holds a lane comes first, and leaves enough to the others; and what is left when it goes.
// Shares of one CPU are measured, for seconds: of emulated time there is nothing finer to be said.
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <new>
#include <numeric>
#include <thread>

#include "process.hpp"
#include "scheduler.hpp"

namespace llmos::guest {
namespace {

void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof(set), &set)) throw_errno("sched_setaffinity");
}

void unpin() {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF); cpu++) CPU_SET(cpu, &set);
  if (sched_setaffinity(0, sizeof(set), &set)) throw_errno("sched_setaffinity");
}

void burn() {
  for (volatile uint64_t i = 0;;) i = i + 1;
}

// Uses all the CPU time it is given, from the moment it was made.
class Hog {
 public:
  explicit Hog(int cpu, int nice = 0)
      : child_([cpu, nice](Child::Parent& parent) {
          pin(cpu);
          if (setpriority(PRIO_PROCESS, 0, nice)) throw_errno("setpriority");
          parent.tell();
          burn();
        }) {
    child_.wait();
  }
  pid_t pid() const { return child_.pid(); }
  double seconds() const { return seconds_of(child_.pid()); }
  static double seconds_of(pid_t pid) {
    clockid_t clock;
    timespec time;
    if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &time)) throw_errno("clock_gettime");
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
  }

 private:
  Child child_;
};

// The part that each of the processes has of what they have together, while so much time passes.
std::vector<double> shares(const std::vector<pid_t>& pids, double seconds) {
  std::vector<double> used;
  for (const pid_t pid : pids) used.push_back(-Hog::seconds_of(pid));
  usleep(static_cast<useconds_t>(seconds * 1e6));
  for (size_t i = 0; i < pids.size(); i++) used[i] += Hog::seconds_of(pids[i]);
  const double all = std::accumulate(used.begin(), used.end(), 0.0);
  for (double& one : used) one /= all;
  return used;
}

class Scheduling : public LaneTest {
 protected:
  void SetUp() override {
    LaneTest::SetUp();
    if (!have_policies()) GTEST_SKIP() << "no policies, bpftool or BTF";
    if (!have_sched_ext()) GTEST_SKIP() << "this kernel was built without sched_ext";
  }
};

TEST_F(Scheduling, ComesAndGoesAndSaysWhy) {
  EXPECT_EQ(sched_ext_state(), "disabled");
  const Scheduler scheduler;
  EXPECT_EQ(sched_ext_state(), "enabled");
  EXPECT_EQ(read_file(sched_ext_dir + "root/ops"), "llmos\n");
  usleep(100000);
  EXPECT_GT(scheduler.counted("others_ns"), 0u);
  EXPECT_TRUE(scheduler.detach());
  EXPECT_NE(scheduler.dump("end").find("unregistered from user space"), std::string::npos) << scheduler.dump("end");
}

// One that burns, and has a turn when it is told to.
class Holder {
 public:
  Holder(const TestDevice& device, int cpu)
      : child_([&device, cpu](Child::Parent& parent) {
          pin(cpu);
          const Lane lane(device);
          parent.tell();
          parent.wait();
          EXPECT_OK(lane.acquire());
          parent.tell();
          burn();
        }) {
    child_.wait();
  }
  void acquire() {
    child_.tell();
    child_.wait();
  }
  pid_t pid() const { return child_.pid(); }

 private:
  Child child_;
};

TEST_F(Scheduling, HolderComesBeforeHogsAndLeavesThemTheirPart) {
  pin(1);
  const TestDevice test;
  Holder holder(test, 0);
  std::vector<std::unique_ptr<Hog>> hogs;
  std::vector<pid_t> pids = {holder.pid()};
  for (int i = 0; i < 4; i++) {
    hogs.push_back(std::make_unique<Hog>(0));
    pids.push_back(hogs.back()->pid());
  }
  holder.acquire();
  const double eevdf = shares(pids, 3)[0];
  EXPECT_LT(eevdf, 0.4);
  {
    const Scheduler scheduler;
    const std::vector<double> with = shares(pids, 5);
    EXPECT_GT(with[0], 0.7);
    for (size_t i = 1; i < pids.size(); i++) EXPECT_GT(with[i], 0.005) << i;
    EXPECT_LT(with[0], 0.97);
    EXPECT_GT(scheduler.counted("dues"), 10u);
    EXPECT_GT(scheduler.counted("lanes_ns"), 2 * second);
    scheduler.set_knobs(10 * ms, 20 * ms, 10 * ms);  // more for the others than for lanes
    EXPECT_LT(shares(pids, 5)[0], 0.6);
  }
  EXPECT_LT(shares(pids, 3)[0], 0.4);  // EEVDF is back
  unpin();
}

TEST_F(Scheduling, OthersShareByWeight) {
  pin(1);
  const Scheduler scheduler;
  const Hog ordinary(0), nice(0, 5);  // weights 1024 and 335
  const std::vector<double> share = shares({ordinary.pid(), nice.pid()}, 5);
  EXPECT_NEAR(share[0], 0.753, 0.08);
  unpin();
}

// How late it is, in ms, each time it wants to wake on a CPU that hogs have.
std::vector<double> lateness(int times) {
  std::vector<double> late;
  for (int i = 0; i < times; i++) {
    const auto wanted = std::chrono::steady_clock::now() + std::chrono::milliseconds(10);
    std::this_thread::sleep_until(wanted);
    late.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - wanted).count());
  }
  std::ranges::sort(late);
  return late;
}

TEST_F(Scheduling, HolderThatWakesTakesTheCpu) {
  const TestDevice test;
  const Scheduler scheduler;
  scheduler.set_knobs(0, 100 * ms, 0);  // so long that nobody takes it for noise
  std::vector<std::unique_ptr<Hog>> hogs;
  for (int i = 0; i < 3; i++) hogs.push_back(std::make_unique<Hog>(0));
  Child sleeper([&](Child::Parent&) {
    pin(0);
    const Lane lane(test);
    const auto without = lateness(31);
    ASSERT_OK(lane.acquire());
    const auto with = lateness(31);
    ASSERT_OK(lane.release());
    EXPECT_LT(with[15], without[15] / 2);
  });
  sleeper.join();
  EXPECT_GT(scheduler.counted("preempted"), 15u);
}

// Between its turns, too, as long as that is no more than the time to prepare the next.
TEST_F(Scheduling, WhoPreparesTheNextTurnTakesTheCpu) {
  const TestDevice test;
  const Scheduler scheduler;
  std::vector<std::unique_ptr<Hog>> hogs;
  for (int i = 0; i < 3; i++) hogs.push_back(std::make_unique<Hog>(0));
  const auto median_lateness = [&](uint64_t prepare_ns) {
    scheduler.set_knobs(0, 100 * ms, 0, prepare_ns);
    Child sleeper([&](Child::Parent& parent) {
      pin(0);
      const Lane lane(test);
      ASSERT_OK(lane.acquire());
      usleep(1000);
      ASSERT_OK(lane.release());
      parent.tell(static_cast<int64_t>(1000 * lateness(31)[15]));
    });
    const double late = static_cast<double>(sleeper.wait()) / 1000;
    sleeper.join();
    return late;
  };
  EXPECT_LT(median_lateness(10 * second), median_lateness(1) / 2);
}

// Whoever does no more than hold a lane for a moment now and then does not keep the others away for ever after.
TEST_F(Scheduling, TheTurnEndsAndSoDoesTheAdvantage) {
  pin(1);
  const TestDevice test;
  const Scheduler scheduler;
  const Hog hog(0);
  Child former([&](Child::Parent& parent) {
    pin(0);
    const Lane lane(test);
    ASSERT_OK(lane.acquire());
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    while (std::chrono::steady_clock::now() < end) {
    }
    ASSERT_OK(lane.release());
    parent.tell();
    burn();
  });
  former.wait();
  EXPECT_NEAR(shares({former.pid(), hog.pid()}, 4)[0], 0.5, 0.12);
  unpin();
}

// What waits for one CPU runs on another one as soon as it may.
TEST_F(Scheduling, IdleCpusTakeWorkOfOtherNodes) {
  if (sysconf(_SC_NPROCESSORS_ONLN) < 2) GTEST_SKIP() << "one CPU";
  const Scheduler scheduler;
  Hog first(0), second(0);
  cpu_set_t both;
  CPU_ZERO(&both);
  CPU_SET(0, &both);
  CPU_SET(1, &both);
  const double before = first.seconds() + second.seconds();
  ASSERT_OK(sched_setaffinity(first.pid(), sizeof(both), &both));
  ASSERT_OK(sched_setaffinity(second.pid(), sizeof(both), &both));
  const auto begin = std::chrono::steady_clock::now();
  sleep(3);
  const double passed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  EXPECT_GT((first.seconds() + second.seconds() - before) / passed, 1.5);
}

// When somebody comes to run there, if it may from now on, in ms; nobody but the scheduler wakes that CPU.
double lateness_on_idle_cpu(pid_t pid, std::atomic<int64_t>& arrived) {
  using Clock = std::chrono::steady_clock;
  cpu_set_t here, both;
  CPU_ZERO(&here);
  CPU_SET(0, &here);
  both = here;
  CPU_SET(1, &both);
  if (sched_setaffinity(pid, sizeof(here), &here)) throw_errno("sched_setaffinity");
  usleep(50000);
  arrived = 0;
  const auto begin = Clock::now();
  if (sched_setaffinity(pid, sizeof(both), &both)) throw_errno("sched_setaffinity");
  while (!arrived && Clock::now() - begin < std::chrono::seconds(5)) usleep(10000);
  return static_cast<double>((arrived ? arrived.load() : INT64_MAX) - begin.time_since_epoch().count()) / 1e6;
}

// It runs on CPU 0, as its rival and this test do, or waits for it there: slices are so long that it is not soon again.
TEST_F(Scheduling, AnIdleCpuIsWokenForWhoMayRunThereFromNowOn) {
  if (sysconf(_SC_NPROCESSORS_ONLN) < 2) GTEST_SKIP() << "one CPU";
  pin(0);
  const Scheduler scheduler;
  scheduler.set_knobs(0, 1 * second, 0);
  const Mapping memory(-1, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
  auto& arrived = *new (memory.data()) std::atomic<int64_t>(1);
  const Hog rival(0);
  Child mover([&](Child::Parent& parent) {
    pin(0);
    parent.tell();
    for (;;)
      if (!arrived && sched_getcpu() == 1) arrived = std::chrono::steady_clock::now().time_since_epoch().count();
  });
  mover.wait();
  std::vector<double> late;
  const uint64_t woken = scheduler.counted("woken");
  for (int round = 0; round < 7; round++) late.push_back(lateness_on_idle_cpu(mover.pid(), arrived));
  std::ranges::sort(late);
  printf("woken after %.1f ms, %.1f at most\n", late[3], late[6]);
  EXPECT_GT(scheduler.counted("woken"), woken);  // how late is told, not judged: this is emulated time
  unpin();
}

// Hogs, threads that take turns, and processes that come and go.
std::vector<std::unique_ptr<Child>> crowd(const TestDevice& test) {
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < 9; i++)
    children.push_back(std::make_unique<Child>([&test, i](Child::Parent&) {
      if (i % 3 == 0) burn();
      const Lane lane(test);
      std::atomic<bool> stop = false;
      std::thread worker([&] {
        while (!stop) usleep(300);
      });
      for (;;) {
        lane.acquire();
        usleep(200);
        lane.release();
        if (i % 3 == 1) in_child([] { usleep(100); });
      }
    }));
  return children;
}

TEST_F(Scheduling, SurvivesTheKillOfEverybody) {
  const TestDevice test("test", 2);
  const Scheduler scheduler;
  for (int round = 0; round < 5; round++) {
    auto children = crowd(test);
    usleep(400000);
    for (auto& child : children) child->kill();
    ASSERT_EQ(sched_ext_state(), "enabled") << scheduler.dump("end");
  }
  EXPECT_GT(scheduler.counted("lanes_ns"), 0u);
}

TEST_F(Scheduling, ComesAndGoesUnderLoad) {
  const TestDevice test("test", 2);
  auto children = crowd(test);
  for (int round = 0; round < 3; round++) {
    const Scheduler scheduler;
    usleep(200000);
    EXPECT_EQ(sched_ext_state(), "enabled") << scheduler.dump("end");
    EXPECT_TRUE(scheduler.detach());
  }
  for (auto& child : children) child->kill();
}

TEST_F(Scheduling, SurvivesCpusThatComeAndGo) {
  const std::string online = "/sys/devices/system/cpu/cpu1/online";
  if (!exists(online)) GTEST_SKIP() << "this CPU cannot go";
  const TestDevice test("test", 2);
  const Scheduler scheduler;
  auto children = crowd(test);
  for (int round = 0; round < 2; round++) {
    must_write(online, "0");
    usleep(300000);
    must_write(online, "1");
    usleep(300000);
    EXPECT_EQ(sched_ext_state(), "enabled") << scheduler.dump("end");
  }
  for (auto& child : children) child->kill();
}

}  // namespace
}  // namespace llmos::guest
