// SPDX-License-Identifier: MIT
// Replacing a name is one step: whoever opens it gets the old model or the new one, never nothing and never a mixture.
#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

using Replace = ModuleTest;

Fd replace(const std::string& name, uint64_t bytes, uint64_t seed) {
  return make_model(name, bytes, {.seed = seed, .flags = LLMOS_CREATE_REPLACE});
}

TEST_F(Replace, OldUsersKeepTheOldBytesAndNewOnesSeeTheNew) {
  make_model("model", 3 * MiB, {.seed = 1});
  const Fd old = open_model("model");
  const Mapping mapped(old, 3 * MiB);
  replace("model", 5 * MiB, 2);
  EXPECT_EQ(pattern_differs(mapped.bytes(), 0, 1), std::nullopt);
  EXPECT_EQ(pattern_differs_in(old, 3 * MiB, 1), std::nullopt);
  const Fd now = open_model("model");
  EXPECT_EQ(pattern_differs_in(now, 5 * MiB, 2), std::nullopt);
  EXPECT_EQ(list_models(), std::set<std::string>{"model"});
  EXPECT_EQ(stat_of("model").bytes, 5 * MiB);

  struct stat before, after;
  ASSERT_EQ(fstat(old, &before), 0);
  ASSERT_EQ(fstat(now, &after), 0);
  EXPECT_NE(before.st_ino, after.st_ino);
  EXPECT_EQ(before.st_nlink, 0u);
  EXPECT_EQ(after.st_nlink, 1u);
}

TEST_F(Replace, OldBytesGoWithTheirLastUser) {
  make_model("model", 8 * MiB);
  Fd old = open_model("model");
  Mapping mapped(old, 8 * MiB);
  replace("model", MiB, 2);
  EXPECT_EQ(memory_current(), 9 * MiB);
  old.close();
  EXPECT_EQ(memory_current(), 9 * MiB) << "still mapped";
  mapped.unmap();
  EXPECT_EQ(memory_current(), MiB);
}

TEST_F(Replace, NothingToReplaceIsNoError) {
  replace("model", page, 1);
  EXPECT_EQ(pattern_differs_in(open_model("model"), page, 1), std::nullopt);
}

TEST_F(Replace, RefusedSealLeavesTheOldModel) {
  make_model("model", page, {.seed = 1, .uid = 1000});
  EXPECT_ERRNO(EEXIST, model_create("model", page));
  EXPECT_OK(model_remove("model"));
  in_child(alice, [] {
    const Fd fd = create("model", page, {.flags = LLMOS_CREATE_REPLACE});
    in_child([] {});
    EXPECT_OK(model_seal(fd));
  });
  // Rights are asked for at the seal too: the name may belong to somebody else by then.
  EXPECT_OK(model_remove("model"));
  Child loader(alice, [](Child::Parent& parent) {
    const Fd fd = create("model", page, {.flags = LLMOS_CREATE_REPLACE});
    parent.tell();
    parent.wait();
    EXPECT_ERRNO(EPERM, model_seal(fd));
  });
  loader.wait();
  make_model("model", page, {.seed = 7});
  loader.tell();
  loader.join();
  EXPECT_EQ(pattern_differs_in(open_model("model"), page, 7), std::nullopt);
}

TEST_F(Replace, EvictedModelIsReplaced) {
  make_model("model", page, {.seed = 1});
  EXPECT_OK(model_evict("model"));
  EXPECT_ERRNO(ESTALE, open_model("model"));
  replace("model", page, 2);
  EXPECT_EQ(pattern_differs_in(open_model("model"), page, 2), std::nullopt);
}

TEST_F(Replace, OpenersInALoopNeverMissTheName) {
  constexpr uint64_t bytes = 2 * page;
  make_model("model", bytes, {.seed = 0});
  std::atomic<bool> stop = false;
  std::atomic<int> newest = 0;
  std::vector<std::unique_ptr<Child>> openers;
  for (int i = 0; i < 3; i++)
    openers.push_back(std::make_unique<Child>([i](Child::Parent& parent) {
      uint64_t opened = 0;
      std::vector<std::byte> content(bytes);
      parent.tell();
      for (struct stat stat;; opened++) {
        if (i == 2) {  // a name that is looked up is enough
          if (::stat(path_of("model").c_str(), &stat)) FAIL() << error_name(errno) << " after " << opened;
        } else {
          const Fd fd = open_model("model");
          if (fd < 0) FAIL() << error_name(errno) << " after " << opened;
          ASSERT_EQ(pread(fd, content.data(), bytes, 0), static_cast<ssize_t>(bytes));
          uint64_t seed = 0;
          while (seed < 400 && pattern_differs(content, 0, seed)) seed++;
          ASSERT_LT(seed, 400u) << "a mixture of two models";
        }
        if (list_models().size() > 2) FAIL();
      }
    }));
  for (auto& opener : openers) opener->wait();
  for (uint64_t seed = 1; seed <= 300; seed++) replace("model", bytes, seed);
  stop = true;
  for (auto& opener : openers) EXPECT_EQ(opener->kill(), SIGKILL) << "an opener had failed";
}

TEST_F(Replace, AtomicAlsoForWhoListsTheFolder) {
  make_model("model", page);
  Child lister([](Child::Parent& parent) {
    parent.tell();
    for (;;) ASSERT_TRUE(list_models().contains("model"));
  });
  lister.wait();
  for (uint64_t seed = 1; seed <= 200; seed++) replace("model", page, seed);
  EXPECT_EQ(lister.kill(), SIGKILL) << "the name was missing once";
}

}  // namespace
}  // namespace llmos::guest
