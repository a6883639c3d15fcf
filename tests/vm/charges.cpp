// SPDX-License-Identifier: MIT
// Charges: counted in every group up to the root, refused before a limit is passed, given back with the descriptor.
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <random>
#include <thread>

#include "groups.hpp"
#include "process.hpp"

namespace llmos::guest {
namespace {

// Every scenario has a device of its own, and nothing charged to it at the end.
class Charges : public GroupTest {
 protected:
  void SetUp() override {
    GroupTest::SetUp();
    device_ = std::make_unique<SimulatedDevice>("sim0", 1024 * MiB);
  }
  void TearDown() override {
    EXPECT_TRUE(eventually([&] { return device_->current() == 0; })) << device_->current();
    device_.reset();
    GroupTest::TearDown();
  }
  uint64_t all() const { return device_->current(); }
  static uint64_t current(const Cgroup& group) { return bytes_of(control(group, "memory.current"), "sim0"); }
  static uint64_t peak(const Cgroup& group) { return bytes_of(control(group, "memory.peak"), "sim0"); }
  static void limit(const Cgroup& group, const std::string& bytes) {
    must_write(control(group, "memory.max"), "sim0 " + bytes);
  }
  std::unique_ptr<SimulatedDevice> device_;
};

TEST_F(Charges, CountInEveryGroupUpToTheRoot) {
  const Cgroup outer("llmos-outer");
  const Cgroup inner("inner", outer.path()), other("other", outer.path());
  in_child([&] {
    inner.enter();
    const Fd first = charge("sim0", 3 * MiB), second = charge("sim0", 2 * MiB);
    EXPECT_EQ(current(inner), 5 * MiB);
    EXPECT_EQ(current(outer), 5 * MiB);
    EXPECT_EQ(current(other), 0u);
    EXPECT_EQ(read_number(device_file("sim0", "memory.current")), 5 * MiB);
    EXPECT_EQ(bytes_of(groups_dir + "/memory.current", "sim0"), 5 * MiB);
    EXPECT_EQ(charge_stat(first).group, inner.id());
    EXPECT_EQ(charge_stat(first).bytes, 3 * MiB);
    EXPECT_STREQ(charge_stat(first).id, "sim0");
  });
  EXPECT_EQ(current(outer), 0u);
  EXPECT_EQ(peak(outer), 5 * MiB);
}

TEST_F(Charges, LimitAboveRefusesAndSaysWhichGroup) {
  const Cgroup outer("llmos-outer");
  const Cgroup inner("inner", outer.path());
  limit(outer, "8M");
  limit(inner, "max");
  in_child([&] {
    inner.enter();
    const Fd held = charge("sim0", 6 * MiB);
    llmos_charge refused;
    EXPECT_ERRNO(EDQUOT, Fd(charge_create("sim0", 2 * MiB + 1, &refused)));
    EXPECT_EQ(refused.refused, outer.id());
    EXPECT_EQ(refused.group, inner.id());
    EXPECT_ERRNO(EDQUOT, charge_set(held, 8 * MiB + 1, &refused));
    EXPECT_EQ(refused.refused, outer.id());
    EXPECT_EQ(charge_stat(held).bytes, 6 * MiB) << "as it was";
    EXPECT_OK(charge_set(held, 8 * MiB)) << "the limit itself fits";
  });
  EXPECT_EQ(event_of(outer, "sim0", "max"), 2u);
  EXPECT_EQ(event_of(inner, "sim0", "max"), 0u);
  EXPECT_EQ(peak(inner), 8 * MiB) << "what was refused was never there";
}

TEST_F(Charges, CapacityOfTheDeviceIsEnospc) {
  const Fd held = charge("sim0", 1000 * MiB);
  llmos_charge refused;
  EXPECT_ERRNO(ENOSPC, Fd(charge_create("sim0", 25 * MiB, &refused)));
  EXPECT_EQ(refused.refused, 0u);
  EXPECT_OK(Fd(charge_create("sim0", 24 * MiB)));
  must_write(device_file("sim0", "memory"), "max");
  EXPECT_OK(Fd(charge_create("sim0", 100 * MiB)));
}

TEST_F(Charges, GrowAndShrink) {
  const Fd held = charge("sim0", 0);
  for (const uint64_t bytes : {1 * MiB, 1 * MiB, 5 * MiB, 0 * MiB, 2 * MiB}) {
    EXPECT_OK(charge_set(held, bytes));
    EXPECT_EQ(all(), bytes);
  }
}

bool have_dmem() { return exists("/sys/fs/cgroup/dmem.capacity"); }

TEST_F(Charges, NumbersBeyondAnythingAreRefused) {
  must_write(device_file("sim0", "memory"), "max");
  EXPECT_ERRNO(ENOSPC, Fd(charge_create("sim0", UINT64_MAX)));
  EXPECT_ERRNO(ENOSPC, Fd(charge_create("sim0", 1ULL << 63)));
  if (have_dmem()) {  // which does not count so far
    EXPECT_ERRNO(EDQUOT, Fd(charge_create("sim0", INT64_MAX)));
    EXPECT_EQ(all(), 0u);
    return;
  }
  const Fd held = charge("sim0", INT64_MAX);
  EXPECT_ERRNO(ENOSPC, Fd(charge_create("sim0", 1)));
  EXPECT_ERRNO(ENOSPC, charge_set(held, UINT64_MAX));
  EXPECT_EQ(all(), static_cast<uint64_t>(INT64_MAX));
}

TEST_F(Charges, MalformedCallsAreRefused) {
  EXPECT_ERRNO(EINVAL, Fd(charge_create("", 1)));
  EXPECT_ERRNO(EINVAL, Fd(charge_create(std::string(32, 'x'), 1)));
  EXPECT_ERRNO(ENODEV, Fd(charge_create("nothing", 1)));
  auto args = charge_args("sim0", 1);
  args.flags = 1;
  EXPECT_ERRNO(EINVAL, command(device(), LLMOS_CHARGE_CREATE, args));
  const Fd held = charge("sim0", 1);
  EXPECT_ERRNO(ENOTTY, command(held, LLMOS_QUERY, args));
  EXPECT_ERRNO(EINVAL, command(held, LLMOS_CHARGE_SET, args));
}

TEST_F(Charges, LiveAsLongAsTheDescriptorWhoeverHasIt) {
  Fd held = charge("sim0", MiB);
  Child sharer([&](Child::Parent& parent) {
    parent.tell();
    parent.wait();
  });
  sharer.wait();
  held.close();
  EXPECT_EQ(all(), MiB) << "the child has it too";
  sharer.kill();
  EXPECT_EQ(all(), 0u);
}

TEST_F(Charges, KillingTheProcessReturnsThem) {
  const Cgroup group("llmos-killed");
  for (int round = 0; round < 20; round++) {
    Child holder([&](Child::Parent& parent) {
      group.enter();
      std::vector<Fd> held;
      for (int i = 0; i < 32; i++) held.push_back(charge("sim0", 64 * KiB));
      parent.tell();
      for (;;) charge_set(held[rand() % 32], rand() % MiB);
    });
    holder.wait();
    EXPECT_GT(current(group), 0u);
    usleep(rand() % 3000);
    holder.kill();
    EXPECT_EQ(current(group), 0u);
  }
}

TEST_F(Charges, TaskThatMovesKeepsThemWhereTheyWereMade) {
  const Cgroup old("llmos-old"), fresh("llmos-fresh");
  limit(old, "4M");
  in_child([&] {
    old.enter();
    const Fd held = charge("sim0", 3 * MiB);
    fresh.enter();
    EXPECT_EQ(current(old), 3 * MiB);
    EXPECT_EQ(current(fresh), 0u);
    EXPECT_ERRNO(EDQUOT, charge_set(held, 5 * MiB)) << "the old group's limit";
    const Fd second = charge("sim0", 5 * MiB);
    EXPECT_EQ(current(fresh), 5 * MiB);
  });
  EXPECT_EQ(current(old), 0u);
  EXPECT_EQ(current(fresh), 0u);
}

TEST_F(Charges, RemovedCgroupLeavesThemToItsParent) {
  const Cgroup outer("llmos-outer");
  auto inner = std::make_unique<Cgroup>("inner", outer.path());
  limit(outer, "8M");
  limit(*inner, "4M");
  Child holder([&](Child::Parent& parent) {
    inner->enter();
    const Fd held = charge("sim0", 4 * MiB);
    must_write("/sys/fs/cgroup/cgroup.procs", "0");
    parent.tell();
    parent.wait();
    EXPECT_OK(charge_set(held, 7 * MiB)) << "the removed one's limit went with it";
    llmos_charge refused;
    EXPECT_ERRNO(EDQUOT, charge_set(held, 9 * MiB, &refused));
    EXPECT_EQ(refused.refused, outer.id());
    parent.tell();
    parent.wait();
  });
  holder.wait();
  inner.reset();
  EXPECT_EQ(current(outer), 4 * MiB);
  inner = std::make_unique<Cgroup>("inner", outer.path());
  EXPECT_EQ(current(*inner), 0u) << "another cgroup of the same name";
  EXPECT_EQ(line_of(control(*inner, "memory.max"), "sim0"), "max");
  holder.tell();
  holder.wait();
  EXPECT_EQ(current(outer), 7 * MiB);
  holder.tell();
  holder.join();
  EXPECT_EQ(current(outer), 0u);
}

TEST_F(Charges, LoweredLimitTakesNothingAway) {
  const Cgroup group("llmos-lowered");
  in_child([&] {
    group.enter();
    const Fd held = charge("sim0", 8 * MiB);
    limit(group, "4M");
    EXPECT_EQ(current(group), 8 * MiB);
    EXPECT_ERRNO(EDQUOT, Fd(charge_create("sim0", 1)));
    EXPECT_OK(charge_set(held, 6 * MiB));
    EXPECT_ERRNO(EDQUOT, charge_set(held, 7 * MiB));
  });
}

TEST_F(Charges, RefusalBelowLowIsAnEvent) {
  const Cgroup outer("llmos-outer");
  const Cgroup greedy("greedy", outer.path()), modest("modest", outer.path());
  limit(outer, "8M");
  must_write(control(modest, "memory.low"), "sim0 4M");
  Child first([&](Child::Parent& parent) {
    greedy.enter();
    const Fd held = charge("sim0", 8 * MiB);
    parent.tell();
    parent.wait();
  });
  first.wait();
  in_child([&] {
    modest.enter();
    EXPECT_ERRNO(EDQUOT, Fd(charge_create("sim0", 1)));
  });
  EXPECT_EQ(event_of(modest, "sim0", "low"), 1u);
  EXPECT_EQ(event_of(greedy, "sim0", "low"), 0u);
  first.tell();
  first.join();
}

TEST_F(Charges, DmemControllerLimitsThemToo) {
  if (!have_dmem()) GTEST_SKIP() << "this kernel has no dmem controller";
  const Cgroup group("llmos-dmem");
  group.set("dmem.max", "llmos/sim0 4194304");
  in_child([&] {
    group.enter();
    const Fd held = charge("sim0", 1 * MiB);
    EXPECT_OK(charge_set(held, 4 * MiB));
    EXPECT_EQ(bytes_of(group.path() + "/dmem.current", "llmos/sim0"), 4 * MiB);
    EXPECT_ERRNO(EDQUOT, charge_set(held, 5 * MiB));
    EXPECT_EQ(current(group), 4 * MiB) << "nothing is left here of what was refused there";
    EXPECT_OK(charge_set(held, 0));
    EXPECT_EQ(bytes_of(group.path() + "/dmem.current", "llmos/sim0"), 0u);
    EXPECT_OK(charge_set(held, 4 * MiB));
  });
  EXPECT_EQ(bytes_of(group.path() + "/dmem.current", "llmos/sim0"), 0u);
}

TEST_F(Charges, DescriptorTellsInFdinfo) {
  const Cgroup group("llmos-fdinfo");
  in_child([&] {
    group.enter();
    const Fd held = charge("sim0", 4096);
    const std::string info = read_file("/proc/self/fdinfo/" + std::to_string(held));
    EXPECT_NE(info.find("llmos-device:\tsim0\n"), std::string::npos) << info;
    EXPECT_NE(info.find("llmos-bytes:\t4096\n"), std::string::npos) << info;
    EXPECT_NE(info.find("llmos-group:\t" + std::to_string(group.id()) + "\n"), std::string::npos) << info;
  });
}

TEST_F(Charges, DeepTreeIsCountedToItsRoot) {
  std::vector<std::unique_ptr<Cgroup>> chain;
  chain.push_back(std::make_unique<Cgroup>("llmos-deep"));
  while (chain.size() < 60) chain.push_back(std::make_unique<Cgroup>("d", chain.back()->path()));
  limit(*chain[30], "1M");
  in_child([&] {
    chain.back()->enter();
    const Fd held = charge("sim0", MiB);
    for (const auto& group : chain) EXPECT_EQ(current(*group), MiB);
    llmos_charge refused;
    EXPECT_ERRNO(EDQUOT, charge_set(held, MiB + 1, &refused));
    EXPECT_EQ(refused.refused, chain[30]->id());
  });
  while (!chain.empty()) chain.pop_back();
}

// LLMOS_OPERATIONS: how many, all processes together.
TEST_F(Charges, SixtyFourProcessesAtRandomNeverOvershoot) {
  constexpr int processes = 64;
  constexpr uint64_t outer_max = 40 * MiB, inner_max = 24 * MiB;
  const char* asked = getenv("LLMOS_OPERATIONS");
  const long operations = (asked ? atol(asked) : 100000) / processes;
  const Cgroup outer("llmos-outer");
  const Cgroup a("a", outer.path()), b("b", outer.path());
  limit(outer, std::to_string(outer_max));
  limit(a, std::to_string(inner_max));
  limit(b, std::to_string(inner_max));

  // What each process really has at a lower bound: added after a charge was granted, taken off before it is released.
  auto* held = static_cast<std::atomic<int64_t>*>(
      mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  std::atomic<int64_t>&in_a = held[0], &in_b = held[1], &in_all = held[2], &granted = held[3], &refused = held[4];
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < processes; i++)
    children.push_back(std::make_unique<Child>([&, i](Child::Parent& parent) {
      std::mt19937 random(i);
      (i % 2 ? a : b).enter();
      std::atomic<int64_t>& mine = i % 2 ? in_a : in_b;
      Fd fd = charge("sim0", 0);
      int64_t now = 0;
      parent.wait();
      for (long n = 0; n < operations; n++) {
        if (n % 8 == 0) sched_yield();
        const int64_t wanted = random() % 4 ? static_cast<int64_t>(random() % (8 * MiB)) : 0;
        if (wanted < now) mine -= now - wanted, in_all -= now - wanted;
        const bool ok = wanted == 0 && random() % 2 ? (fd = Fd(charge_create("sim0", 0))) >= 0
                                                    : charge_set(fd, static_cast<uint64_t>(wanted)) == 0;
        if (!ok) {
          ASSERT_EQ(errno, EDQUOT);
          ASSERT_GT(wanted, now);
          refused++;
          continue;
        }
        granted++;
        if (wanted > now) mine += wanted - now, in_all += wanted - now;
        now = wanted;
        ASSERT_LE(in_a, static_cast<int64_t>(inner_max));
        ASSERT_LE(in_b, static_cast<int64_t>(inner_max));
        ASSERT_LE(in_all, static_cast<int64_t>(outer_max));
      }
      mine -= now, in_all -= now;
    }));
  std::atomic<bool> stop = false;
  uint64_t samples = 0;
  std::thread watcher([&] {
    for (; !stop; samples++) {
      EXPECT_LE(current(outer), outer_max);
      EXPECT_LE(current(a), inner_max);
      EXPECT_LE(current(b), inner_max);
    }
  });
  for (auto& child : children) child->tell();
  for (auto& child : children) child->join();
  stop = true;
  watcher.join();

  EXPECT_GT(granted, 0);
  EXPECT_GT(refused, 0) << "the limits were never reached: nothing was tried";
  EXPECT_GT(samples, 10u);
  EXPECT_LE(peak(outer), outer_max);
  EXPECT_LE(peak(a), inner_max);
  EXPECT_GT(peak(outer), outer_max / 2);
  EXPECT_EQ(current(a) + current(b) + current(outer), 0u);
  munmap(held, page);
}

// As closely as two processors can: what is left under the limit is enough for one of them.
TEST_F(Charges, TwoAtOnceForTheLastBytes) {
  const Cgroup group("llmos-last");
  limit(group, std::to_string(page));
  in_child([&] {
    group.enter();
    std::atomic<int> round = 0, ready = 0, done = 0;
    std::atomic<bool> granted[2] = {false, false};
    const auto charger = [&](int which) {
      cpu_set_t cpu;
      CPU_ZERO(&cpu);
      CPU_SET(which, &cpu);
      sched_setaffinity(0, sizeof(cpu), &cpu);
      const Fd mine = charge("sim0", 0);
      for (int now = 1;; now++) {
        ready++;
        while (round < now) {
        }
        if (round == INT_MAX) return;
        granted[which] = charge_set(mine, page) == 0;
        done++;
        while (done < 2 * now) {  // until both have tried
        }
        if (granted[which]) charge_set(mine, 0);
      }
    };
    std::thread first(charger, 0), second(charger, 1);
    int both = 0, one = 0;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(4);
    for (int now = 1; std::chrono::steady_clock::now() < end; now++) {
      while (ready < 2 * now) sched_yield();
      round = now;
      while (done < 2 * now) sched_yield();
      both += granted[0] && granted[1];
      one += granted[0] != granted[1];
    }
    while (ready < 2 * (round + 1)) sched_yield();
    round = INT_MAX;
    first.join();
    second.join();
    EXPECT_EQ(both, 0) << "times the limit was passed";
    EXPECT_GT(one, 100);
  });
}

TEST_F(Charges, CgroupsRemovedWhileTheirChargesChange) {
  const Cgroup outer("llmos-outer");
  limit(outer, "64M");
  for (int round = 0; round < 40; round++) {
    auto inner = std::make_unique<Cgroup>("inner", outer.path());
    Child holder([&](Child::Parent& parent) {
      inner->enter();
      std::vector<Fd> held;
      for (int i = 0; i < 8; i++) held.push_back(charge("sim0", 64 * KiB));
      must_write("/sys/fs/cgroup/cgroup.procs", "0");
      parent.tell();
      for (;;) charge_set(held[rand() % 8], rand() % MiB);
    });
    holder.wait();
    Child setter([&](Child::Parent& parent) {
      const std::string path = control(*inner, "memory.max");
      parent.tell();
      for (;;) write_file(path, "sim0 16M");
    });
    setter.wait();
    usleep(rand() % 2000);
    inner.reset();
    usleep(rand() % 2000);
    holder.kill();
    setter.kill();
    EXPECT_EQ(current(outer), 0u);
  }
}

TEST_F(Charges, ModelIsShownInPartsThatAddUp) {
  const Cgroup outer("llmos-outer");
  const Cgroup a("a", outer.path()), b("b", outer.path());
  make_model("model", 8 * MiB);
  const auto part = [](const Cgroup& group) { return read_number(control(group, "models.current")); };
  EXPECT_EQ(part(outer), 0u) << "nobody has it open";
  const auto opener = [](const Cgroup& group, int opens) {
    return [&group, opens](Child::Parent& parent) {
      group.enter();
      std::vector<Fd> files;
      for (int i = 0; i < opens; i++) files.push_back(open_model("model"));
      parent.tell();
      parent.wait();
    };
  };
  Child first(opener(a, 5));
  first.wait();
  EXPECT_EQ(part(a), 8 * MiB);
  EXPECT_EQ(part(outer), 8 * MiB);
  Child second(opener(b, 1));
  second.wait();
  EXPECT_EQ(part(a), 4 * MiB) << "by groups, not by opens";
  EXPECT_EQ(part(b), 4 * MiB);
  EXPECT_EQ(part(outer), 8 * MiB);
  EXPECT_EQ(read_number(groups_dir + "/models.current"), 8 * MiB);
  revoke("model", LLMOS_SUBJECT_PID, first.pid());
  EXPECT_EQ(part(a), 0u) << "a revoked grant uses nothing";
  EXPECT_EQ(part(b), 8 * MiB);
  first.tell();
  first.join();
  second.tell();
  second.join();
  EXPECT_EQ(part(outer), 0u);
}

}  // namespace
}  // namespace llmos::guest
