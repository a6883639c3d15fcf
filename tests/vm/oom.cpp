// SPDX-License-Identifier: MIT
// A machine that really runs out of memory: no swap, hardly any page cache, models in most of it, and a program that
// wants more than is free. It has a machine of its own (tests/vm/scenarios.cmake.in), because it makes life hard for
// everyone.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

bool evicted(const std::string& name) { return stat_of(name).state == LLMOS_STATE_EVICTED; }

uint64_t killed_so_far() {
  std::istringstream counters(read_file("/proc/vmstat"));
  std::string key;
  for (uint64_t value; counters >> key >> value;) {
    if (key == "oom_kill") return value;
  }
  throw std::runtime_error("no oom_kill in /proc/vmstat");
}

void score(int value) { must_write("/proc/self/oom_score_adj", std::to_string(value)); }

uint64_t in_huge_pages(uint64_t bytes) { return bytes / huge_page * huge_page; }

// Anonymous memory, piece by piece, all of it written.
class Hoard {
 public:
  static constexpr uint64_t piece = 8 * MiB;
  void grow() {
    pieces_.emplace_back(-1, piece, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    memset(pieces_.back().data(), 0x5a, piece);
  }
  uint64_t bytes() const { return pieces_.size() * piece; }

 private:
  std::vector<Mapping> pieces_;
};

// A process that takes so much memory, says so, and keeps it until it is told to go.
std::unique_ptr<Child> hog(uint64_t bytes) {
  return std::make_unique<Child>([bytes](Child::Parent& parent) {
    score(0);
    Hoard hoard;
    while (hoard.bytes() < bytes) hoard.grow();
    parent.tell();
    parent.wait();
  });
}

// A process that has a model mapped and has read all of it, and reads it once more when it is told to.
std::unique_ptr<Child> reader(const std::string& name, uint64_t bytes, uint64_t seed, int badness = 0) {
  auto child = std::make_unique<Child>([=](Child::Parent& parent) {
    score(badness);
    const Mapping map(open_model(name), bytes);
    map.touch();
    parent.tell();
    parent.wait();
    EXPECT_EQ(pattern_differs(map.bytes(), 0, seed), std::nullopt);
  });
  child->wait();
  return child;
}

void expect_unharmed(Child& child) {
  child.tell();
  child.join();
}

class OutOfMemory : public ModuleTest {
 protected:
  void SetUp() override {
    ModuleTest::SetUp();
    score(-1000);
    ASSERT_EQ(read_file("/proc/swaps").find("\n/"), std::string::npos) << "swap is on";
    must_write("/proc/sys/vm/drop_caches", "3");
    free_ = meminfo("MemAvailable");
    kills_ = killed_so_far();
  }
  uint64_t kills() const { return killed_so_far() - kills_; }

  Setting limit_{memory_max_file, "max"};
  uint64_t free_ = 0;

 private:
  uint64_t kills_ = 0;
};

TEST_F(OutOfMemory, DropsIdleModelsLeastRecentlyUsedFirstAndKillsNobody) {
  const std::vector<std::string> names = {"a", "b", "c", "d", "e", "f"}, by_use = {"d", "a", "f", "b", "e", "c"};
  const uint64_t bytes = in_huge_pages(free_ / 10), used_bytes = in_huge_pages(free_ / 20);
  make_model("used", used_bytes, {.seed = 1, .flags = LLMOS_MODEL_EVICTABLE, .priority = -9});
  make_model("kept", used_bytes, {.seed = 2, .priority = -9});
  const auto user = reader("used", used_bytes, 1);
  for (const auto& name : names) make_model(name, bytes, {.flags = LLMOS_MODEL_EVICTABLE});
  for (const auto& name : by_use) open_model(name).close();

  // Two models and a half more than there is.
  std::unique_ptr<Child> taker = hog(meminfo("MemAvailable") + bytes * 5 / 2);
  ASSERT_NO_THROW(taker->wait()) << "it was killed with idle models in memory";
  size_t gone = 0;
  while (gone < by_use.size() && evicted(by_use[gone])) gone++;
  EXPECT_GE(gone, 2u);
  EXPECT_LT(gone, by_use.size()) << "more went than was wanted";
  for (size_t i = gone; i < by_use.size(); i++)
    EXPECT_FALSE(evicted(by_use[i])) << by_use[i] << " went before its turn";
  EXPECT_FALSE(evicted("used"));
  EXPECT_FALSE(evicted("kept"));
  EXPECT_EQ(kills(), 0u);
  expect_unharmed(*taker);
  expect_unharmed(*user);
  EXPECT_EQ(pattern_differs_in(open_model("kept"), used_bytes, 2), std::nullopt);
  printf("%zu of %zu idle models of %lu MiB went\n", gone, names.size(), bytes / MiB);
}

TEST_F(OutOfMemory, KillsWhoTakesTooMuchOnceNoIdleModelIsLeft) {
  const uint64_t bytes = in_huge_pages(free_ / 4), idle_bytes = in_huge_pages(free_ / 8);
  make_model("used", bytes, {.seed = 1, .flags = LLMOS_MODEL_EVICTABLE, .priority = -9});
  make_model("kept", idle_bytes, {.seed = 2});
  make_model("idle", idle_bytes, {.flags = LLMOS_MODEL_EVICTABLE});
  const auto user = reader("used", bytes, 1);
  const auto taker = hog(UINT64_MAX);
  const int status = taker->wait_status();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_EQ(kills(), 1u) << "only that one";
  EXPECT_TRUE(evicted("idle")) << "before anyone was killed";
  EXPECT_FALSE(evicted("used"));
  EXPECT_FALSE(evicted("kept"));
  EXPECT_EQ(pattern_differs_in(open_model("kept"), idle_bytes, 2), std::nullopt);
  expect_unharmed(*user);
}

// What a process has mapped counts as its own when the kernel chooses whom to kill, shared or not. A service that uses
// large models says so by its oom_score_adj.
TEST_F(OutOfMemory, SparesTheReaderOfALargeModelThatHasItsScoreLowered) {
  const uint64_t bytes = in_huge_pages(free_ / 5 * 3);
  make_model("large", bytes, {.seed = 3});
  const auto user = reader("large", bytes, 3, -800);
  const auto taker = hog(UINT64_MAX);
  EXPECT_TRUE(WIFSIGNALED(taker->wait_status()));
  EXPECT_EQ(kills(), 1u);
  expect_unharmed(*user);
}

// Without that the reader goes first. Then nobody uses the model any more, and it makes room: the second is not killed.
TEST_F(OutOfMemory, TakesAnEvictableModelOnceItsReaderWasKilled) {
  const uint64_t bytes = in_huge_pages(free_ / 5 * 3);
  make_model("large", bytes, {.seed = 3, .flags = LLMOS_MODEL_EVICTABLE});
  const auto user = reader("large", bytes, 3);
  const auto taker = hog(meminfo("MemAvailable") + bytes / 2);
  ASSERT_NO_THROW(taker->wait());
  EXPECT_TRUE(WIFSIGNALED(user->wait_status()));
  EXPECT_TRUE(evicted("large"));
  EXPECT_EQ(kills(), 1u);
  expect_unharmed(*taker);
}

}  // namespace
}  // namespace llmos::guest
