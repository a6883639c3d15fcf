// SPDX-License-Identifier: MIT
// Idle models make room: the lowest priority first, then the least recently used; models in use never.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstring>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

using Evict = ModuleTest;

bool evicted(const std::string& name) { return stat_of(name).state == LLMOS_STATE_EVICTED; }

void make_evictable(const std::string& name, uint64_t bytes, int32_t priority = 0, uint64_t seed = 0) {
  make_model(name, bytes, {.seed = seed, .flags = LLMOS_MODEL_EVICTABLE, .priority = priority});
}

std::set<std::string> survivors() {
  std::set<std::string> names;
  for (const auto& name : list_models()) {
    if (!evicted(name)) names.insert(name);
  }
  return names;
}

using Names = std::set<std::string>;

// ---- by command ----

TEST_F(Evict, ByCommandFreesTheMemoryAndKeepsTheName) {
  make_model("model", 8 * MiB, {.seed = 3});
  const auto before = stat_of("model");
  EXPECT_OK(model_evict("model"));
  EXPECT_EQ(memory_current(), 0u);
  EXPECT_EQ(list_models(), Names{"model"});
  EXPECT_ERRNO(ESTALE, open_model("model"));
  const auto after = stat_of("model");
  EXPECT_EQ(after.state, static_cast<uint32_t>(LLMOS_STATE_EVICTED));
  EXPECT_EQ(after.bytes, before.bytes);
  EXPECT_EQ(after.resident, 0u);
  EXPECT_EQ(after.huge, 0u);
  EXPECT_EQ(memcmp(after.digest, before.digest, sizeof(after.digest)), 0);
  struct stat stat;
  EXPECT_OK(::stat(path_of("model").c_str(), &stat));
  EXPECT_OK(model_evict("model")) << "already gone is as wanted";
  EXPECT_ERRNO(EEXIST, model_create("model", page));
  EXPECT_OK(model_remove("model"));
  EXPECT_OK(Fd(model_create("model", page)));
}

TEST_F(Evict, ByCommandIsRefusedWhileInUse) {
  Fd fd = make_model("model", huge_page);
  EXPECT_ERRNO(EBUSY, model_evict("model"));
  Mapping map(fd, huge_page);
  fd.close();
  EXPECT_ERRNO(EBUSY, model_evict("model")) << "mapped";
  Fd buffer;
  {
    const Fd again = open_model("model");
    buffer = Fd(model_dmabuf(again));
  }
  map.unmap();
  EXPECT_ERRNO(EBUSY, model_evict("model")) << "exported";
  buffer.close();
  EXPECT_OK(model_evict("model"));
}

TEST_F(Evict, RevokedUsersStillCountAsUsers) {
  make_model("model", page);
  Fd fd = open_model("model");
  revoke("model", LLMOS_SUBJECT_PID, getpid());
  EXPECT_ERRNO(EBUSY, model_evict("model"));
  fd.close();
  EXPECT_OK(model_evict("model"));
}

// ---- by the limit ----

// Room for three models of 4 MiB.
struct ThreeFit {
  Setting limit{memory_max_file, "12M"};
};

TEST_F(Evict, LowestPriorityGoesFirst) {
  const ThreeFit room;
  make_evictable("high", 4 * MiB, 5);
  make_evictable("low", 4 * MiB, -5);
  make_evictable("middle", 4 * MiB, 0);
  make_evictable("fourth", 4 * MiB, 9);
  EXPECT_EQ(survivors(), (Names{"high", "middle", "fourth"}));
  make_evictable("fifth", 4 * MiB, 9);
  EXPECT_EQ(survivors(), (Names{"high", "fourth", "fifth"}));
  make_evictable("sixth", 4 * MiB, 9);
  EXPECT_EQ(survivors(), (Names{"fourth", "fifth", "sixth"}));
}

TEST_F(Evict, OfEqualPriorityTheLeastRecentlyUsedGoesFirst) {
  const ThreeFit room;
  for (const char* name : {"a", "b", "c"}) make_evictable(name, 4 * MiB);
  open_model("a").close();
  make_evictable("d", 4 * MiB);
  EXPECT_EQ(survivors(), (Names{"a", "c", "d"})) << "b was not used since";
  open_model("c").close();
  make_evictable("e", 4 * MiB);
  EXPECT_EQ(survivors(), (Names{"c", "d", "e"}));
}

TEST_F(Evict, TimeOfLastUseIsTheLastClose) {
  make_evictable("model", page);
  usleep(30000);
  EXPECT_GE(stat_of("model").idle_ns, 30000000u);
  Fd fd = open_model("model");
  EXPECT_EQ(stat_of("model").idle_ns, 0u);
  fd.close();
  EXPECT_LT(stat_of("model").idle_ns, 30000000000u);
  EXPECT_GT(stat_of("model").idle_ns, 0u);
}

TEST_F(Evict, ModelsInUseAndThoseNotEvictableStay) {
  const ThreeFit room;
  make_evictable("used", 4 * MiB, -9);
  make_model("kept", 4 * MiB);
  make_evictable("idle", 4 * MiB, 9);
  const Fd used = open_model("used");
  make_evictable("new", 4 * MiB);
  EXPECT_EQ(survivors(), (Names{"used", "kept", "new"}));
  const Fd busy = open_model("new");
  EXPECT_ERRNO(EDQUOT, model_create("more", 1));
  EXPECT_EQ(survivors(), (Names{"used", "kept", "new"}));
  EXPECT_EQ(pattern_differs_in(used, 4 * MiB), std::nullopt);
}

// Nobody loses a model to one that would not fit even then.
TEST_F(Evict, WhatCannotFitTakesNothing) {
  {
    const ThreeFit room;
    make_model("kept", 4 * MiB);
    make_evictable("idle", 4 * MiB);
    EXPECT_ERRNO(EDQUOT, model_create("large", read_number(memory_max_file) - 4 * MiB + 1));
    EXPECT_EQ(survivors(), (Names{"idle", "kept"}));
  }
  const Setting limit(memory_max_file, "max");
  EXPECT_ERRNO(ENOMEM, model_create("larger", 2 * meminfo("MemTotal")));
  EXPECT_EQ(survivors(), (Names{"idle", "kept"}));
}

TEST_F(Evict, AsManyGoAsNeeded) {
  const ThreeFit room;
  for (const char* name : {"a", "b", "c"}) make_evictable(name, 4 * MiB);
  make_evictable("large", 7 * MiB);
  EXPECT_EQ(survivors(), (Names{"c", "large"}));
}

TEST_F(Evict, PriorityAndEvictabilityCanBeChanged) {
  const ThreeFit room;
  for (const char* name : {"a", "b", "c"}) make_evictable(name, 4 * MiB);
  EXPECT_OK(model_set("a", LLMOS_SET_PRIORITY, 0, 7));
  EXPECT_OK(model_set("b", LLMOS_SET_EVICTABLE, 0, 99));
  EXPECT_EQ(stat_of("a").priority, 7);
  EXPECT_EQ(stat_of("a").flags, uint32_t{LLMOS_MODEL_EVICTABLE});
  EXPECT_EQ(stat_of("b").priority, 0) << "not asked for";
  EXPECT_EQ(stat_of("b").flags, 0u);
  make_model("d", 4 * MiB);
  EXPECT_EQ(survivors(), (Names{"a", "b", "d"}));
  EXPECT_OK(model_set("b", LLMOS_SET_EVICTABLE | LLMOS_SET_PRIORITY, LLMOS_MODEL_EVICTABLE, 8));
  make_model("e", 4 * MiB);
  EXPECT_EQ(survivors(), (Names{"b", "d", "e"}));
  EXPECT_OK(model_set("b", 0, 0, 0)) << "changes nothing";
  EXPECT_EQ(stat_of("b").priority, 8);
}

TEST_F(Evict, RacingOpensGetAllOfItOrEstale) {
  std::vector<std::unique_ptr<Child>> openers;
  make_evictable("model", huge_page, 0, 1);
  for (int i = 0; i < 2; i++)
    openers.push_back(std::make_unique<Child>([](Child::Parent& parent) {
      parent.tell();
      for (;; usleep(300)) {
        const Fd fd = open_model("model");
        if (fd < 0) {
          ASSERT_EQ(error_name(errno), "ESTALE");
          continue;
        }
        const Mapping map(fd, huge_page);
        ASSERT_EQ(pattern_differs(map.bytes().first(64 * KiB), 0, 1), std::nullopt);
        ASSERT_EQ(map.signal_at(huge_page - 1), 0);
      }
    }));
  for (auto& opener : openers) opener->wait();
  int gone = 0, busy = 0;
  const time_t end = time(nullptr) + 20;
  while (gone < 60 && time(nullptr) < end) {
    const int error = errno_of([] { return model_evict("model"); });
    ASSERT_TRUE(error == 0 || error == EBUSY) << error_name(error);
    if (error) {
      busy++;
      continue;
    }
    gone++;
    make_model("model", huge_page, {.seed = 1, .flags = LLMOS_CREATE_REPLACE | LLMOS_MODEL_EVICTABLE});
  }
  EXPECT_GT(gone, 0) << "of " << gone + busy;
  for (auto& opener : openers) EXPECT_EQ(opener->kill(), SIGKILL) << "an opener had failed";
}

// ---- by pressure ----

TEST_F(Evict, MemoryPressureTakesIdleModelsAndNothingElse) {
  const Setting limit(memory_max_file, "max");
  constexpr uint64_t bytes = 192 * MiB;
  make_evictable("used", bytes, -9, 1);
  make_model("kept", bytes, {.seed = 2});
  for (const char* name : {"a", "b", "c"}) make_evictable(name, bytes);
  const Fd used = open_model("used");
  // A program that needs the memory of one or two of them, and touches it slowly enough to be reclaimed for.
  in_child([] {
    must_write("/proc/self/oom_score_adj", "-1000");
    const uint64_t wanted = meminfo("MemAvailable") + 2 * bytes - 64 * MiB;
    std::vector<Mapping> parts;
    for (uint64_t have = 0; have < wanted && survivors().size() > 3; have += 32 * MiB) {
      parts.emplace_back(-1, 32 * MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
      memset(parts.back().data(), 1, 32 * MiB);
    }
  });
  EXPECT_LT(survivors().size(), 5u) << "nothing was taken";
  EXPECT_TRUE(survivors().contains("used"));
  EXPECT_TRUE(survivors().contains("kept"));
  EXPECT_TRUE(evicted("a")) << "the least recently used";
  EXPECT_EQ(pattern_differs_in(used, bytes, 1), std::nullopt);
  EXPECT_EQ(pattern_differs_in(open_model("kept"), bytes, 2), std::nullopt);
}

// Sysrq's "f" kills a process, but asks the notifiers first, like any shortage of memory does.
TEST_F(Evict, OutOfMemoryAsksForIdleModelsBeforeItKills) {
  if (!exists("/proc/sysrq-trigger")) GTEST_SKIP() << "no sysrq in this kernel";
  make_evictable("second", 8 * MiB, 1);
  make_evictable("first", 8 * MiB, 0);
  make_model("kept", 8 * MiB);
  Child victim([](Child::Parent& parent) {
    must_write("/proc/self/oom_score_adj", "1000");
    const Mapping map(-1, 64 * MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    memset(map.data(), 1, map.size());
    parent.tell();
    parent.wait();
  });
  victim.wait();
  must_write("/proc/sysrq-trigger", "f");
  EXPECT_TRUE(eventually([] { return evicted("first"); }));
  EXPECT_EQ(survivors(), (Names{"kept", "second"}));
  EXPECT_TRUE(WIFSIGNALED(victim.wait_status()));
}

}  // namespace
}  // namespace llmos::guest
