// SPDX-License-Identifier: MIT
// The limit of all models together, charged before a page is allocated; and a cgroup's own limit of memory.
#include <fcntl.h>
#include <sys/sysinfo.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

using Limits = ModuleTest;

TEST_F(Limits, DefaultIsEightyPercentOfMemory) {
  ASSERT_EQ(read_number("/sys/module/llmos/parameters/memory_percent"), 80u);
  const double share = static_cast<double>(read_number(memory_max_file)) / static_cast<double>(meminfo("MemTotal"));
  EXPECT_NEAR(share, 0.8, 0.01);
}

TEST_F(Limits, FileTakesBytesUnitsAndMax) {
  const Setting saved(memory_max_file, "100M");
  EXPECT_EQ(read_number(memory_max_file), 100 * MiB);
  must_write(memory_max_file, "4096\n");
  EXPECT_EQ(read_number(memory_max_file), 4096u);
  must_write(memory_max_file, "2G");
  EXPECT_EQ(query().memory_max, 2048 * MiB);
  must_write(memory_max_file, "max");
  EXPECT_EQ(read_file(memory_max_file), "max\n");
  for (const char* bad : {"\n", "x", "1Q", "-1", "max1", "1 2", "99999999999999999999"})
    EXPECT_ERRNO(EINVAL, write_file(memory_max_file, bad)) << bad;
  EXPECT_EQ(read_file(memory_max_file), "max\n");
}

TEST_F(Limits, OnlyRootSetsIt) {
  EXPECT_ERRNO_AS(alice, EACCES, write_file(memory_max_file, "max"));
  EXPECT_ERRNO_AS(alice, 0, open("/sys/fs/llmos/memory.current", O_RDONLY));
}

TEST_F(Limits, AboveItIsRefusedAndNothingIsTaken) {
  const Setting limit(memory_max_file, "16M");
  const Fd first = create("first", 10 * MiB);
  auto args = create_args("second", 6 * MiB + 1);
  EXPECT_ERRNO(EDQUOT, model_create(args));
  EXPECT_EQ(args.failed_node, -1);
  EXPECT_EQ(memory_current(), 10 * MiB);
  const Fd fits = create("second", 6 * MiB);
  EXPECT_EQ(memory_current(), 16 * MiB);
  EXPECT_ERRNO(EDQUOT, model_create("third", 1));
}

TEST_F(Limits, OfTheNumberOfModels) {
  const std::string file = "/sys/fs/llmos/models.max";
  EXPECT_EQ(read_number(file), 4096u);
  const Fd early = create("early", page);
  const Setting limit(file, std::to_string(query().models + 1));
  make_model("first", page);
  EXPECT_ERRNO(ENOSPC, model_create("second", page));
  EXPECT_ERRNO(ENOSPC, model_seal(early)) << "not even when it was begun before";
  make_model("first", page, {.seed = 1, .flags = LLMOS_CREATE_REPLACE});  // makes no more of them
  must_write(file, std::to_string(query().models + 1));
  EXPECT_OK(model_seal(early));
  for (const char* bad : {"-1", "x", "1000001"}) EXPECT_ERRNO(EINVAL, write_file(file, bad)) << bad;
  EXPECT_ERRNO_AS(alice, EACCES, write_file(file, "1"));
  EXPECT_OK(model_remove("early"));
}

TEST_F(Limits, LoweredBelowWhatIsInUseTakesNothingAway) {
  make_model("model", 8 * MiB);
  const Setting limit(memory_max_file, "4M");
  EXPECT_ERRNO(EDQUOT, model_create("other", 1));
  EXPECT_EQ(pattern_differs_in(open_model("model"), 8 * MiB), std::nullopt);
}

TEST_F(Limits, PeakIsTheMostThereEverWas) {
  make_model("model", 24 * MiB);
  const uint64_t peak = query().memory_peak;
  EXPECT_GE(peak, 24 * MiB);
  EXPECT_OK(model_remove("model"));
  EXPECT_EQ(query().memory_peak, peak);
  EXPECT_EQ(read_number("/sys/fs/llmos/memory.peak"), peak);
}

TEST_F(Limits, LoadersAtOnceNeverOvershootIt) {
  constexpr int loaders = 8, rounds = 12, fit = 3;
  const Setting limit(memory_max_file, std::to_string(fit * 8 * MiB + 4 * MiB));
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> seen = 0;
  std::thread watcher([&] {
    while (!stop) seen = std::max(seen.load(), memory_current());
  });
  for (int round = 0; round < rounds; round++) {
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < loaders; i++)
      children.push_back(std::make_unique<Child>([&](Child::Parent& parent) {
        parent.wait();
        const Fd fd(model_create("model", 8 * MiB));
        parent.tell(fd < 0 ? errno : 0);
        parent.wait();
      }));
    for (auto& child : children) child->tell();
    int made = 0;
    for (auto& child : children) {
      const int error = static_cast<int>(child->wait());
      EXPECT_TRUE(error == 0 || error == EDQUOT) << error_name(error);
      made += error == 0;
    }
    EXPECT_EQ(made, fit);
    EXPECT_EQ(memory_current(), fit * 8 * MiB);
    for (auto& child : children) child->tell();
    for (auto& child : children) child->join();
  }
  stop = true;
  watcher.join();
  EXPECT_LE(seen, fit * 8 * MiB);
  EXPECT_GT(seen, 0u);
}

TEST_F(Limits, CgroupLimitGivesEnomemAndKillsNobody) {
  const Cgroup group("llmos-small");
  group.set("memory.max", "48M");
  in_child([&] {
    group.enter();
    auto args = create_args("model", 128 * MiB);
    EXPECT_ERRNO(ENOMEM, model_create(args));
    EXPECT_EQ(args.failed_node, -1) << "no node, the cgroup is full";
    const Fd fits = create("model", 16 * MiB);
    EXPECT_GE(group.number("memory.current"), 16 * MiB) << "the loader's cgroup is charged";
  });
  EXPECT_GT(group.event("max"), 0u);
  EXPECT_EQ(group.event("oom_kill"), 0u);
  EXPECT_EQ(group.event("oom"), 0u);
  EXPECT_EQ(memory_current(), 0u);
  EXPECT_TRUE(eventually([&] { return group.number("memory.current") < 4 * MiB; }));
}

TEST_F(Limits, MoreThanTheMachineHasIsEnomemAndKillsNobody) {
  const Setting limit(memory_max_file, "max");
  const uint64_t kills = std::stoull(must_shell("awk '/^oom_kill / {print $2}' /proc/vmstat"));
  auto args = create_args("model", meminfo("MemTotal"));
  EXPECT_ERRNO(ENOMEM, model_create(args));
  EXPECT_GE(args.failed_node, 0) << "a node had no page left";
  EXPECT_EQ(memory_current(), 0u);
  EXPECT_EQ(std::stoull(must_shell("awk '/^oom_kill / {print $2}' /proc/vmstat")), kills);
}

TEST_F(Limits, KilledWhileAllocatingLeavesNothing) {
  Child loader([](Child::Parent& parent) {
    for (;;) {
      parent.tell();
      Fd fd = create("model", 1024 * MiB);
    }
  });
  loader.wait();
  eventually([] { return memory_current() > 0; });
  usleep(20000);
  loader.kill();
  EXPECT_EQ(memory_current(), 0u);
}

}  // namespace
}  // namespace llmos::guest
