// SPDX-License-Identifier: MIT
// Taking a model away from some of its users while the others run on.
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

using Revoke = ModuleTest;

constexpr uint64_t bytes = 4 * huge_page + 5 * page + 9;

// What a process whose grant was taken away finds.
void expect_revoked(int fd, const Mapping& map) {
  for (uint64_t at = 0; at < map.size(); at += 37 * page) EXPECT_EQ(map.signal_at(at), SIGBUS) << at;
  EXPECT_EQ(map.signal_at(map.size() - 1), SIGBUS);
  char byte[8];
  EXPECT_ERRNO(ESTALE, pread(fd, byte, 8, 0));
  EXPECT_ERRNO(ESTALE, mmap(nullptr, page, PROT_READ, MAP_SHARED, fd, 0));
  EXPECT_ERRNO(ESTALE, model_dmabuf(fd));
  auto stat = sized<llmos_model_stat>();
  EXPECT_ERRNO(ESTALE, model_stat(fd, stat));
  int pipe[2];
  ASSERT_EQ(pipe2(pipe, O_CLOEXEC), 0);
  const Fd out(pipe[0]), in(pipe[1]);
  EXPECT_ERRNO(ESTALE, splice(fd, nullptr, in, nullptr, page, 0));
  EXPECT_ERRNO(EFAULT, write(in, map.data(), 100)) << "the kernel reads no more than the process itself";
}

void expect_untouched(int fd, const Mapping& map) {
  EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
  EXPECT_EQ(pattern_differs_in(fd, map.size()), std::nullopt);
}

// A process that uses the model, and looks again when the parent tells it: is it to be revoked?
class User {
 public:
  explicit User(const Identity& identity, const Cgroup* group = nullptr)
      : child_([=](Child::Parent& parent) {
          if (group) group->enter();
          become(identity);
          const Fd fd = open_model("model");
          const Mapping map(fd, bytes);
          map.touch();
          parent.tell();
          while (true) switch (parent.wait()) {
              case 0:
                return;
              case 1:
                expect_revoked(fd, map), parent.tell();
                break;
              case 2:
                expect_untouched(fd, map), parent.tell();
                break;
            }
        }) {
    child_.wait();
  }
  pid_t pid() const { return child_.pid(); }
  void is(bool revoked) {
    child_.tell(revoked ? 1 : 2);
    child_.wait();
  }
  ~User() {
    child_.tell(0);
    child_.join();
  }

 private:
  Child child_;
};

TEST_F(Revoke, OneUserLosesItAndTheOthersRunOn) {
  make_model("model", bytes);
  User first(alice), second(alice), other(bob), system(root);
  EXPECT_EQ(revoke("model", LLMOS_SUBJECT_UID, 1000), 2u);
  first.is(true);
  second.is(true);
  other.is(false);
  system.is(false);
  EXPECT_EQ(stat_of("model").grants, 2u);
}

TEST_F(Revoke, OneProcessLosesIt) {
  make_model("model", bytes);
  User first(alice), second(alice);
  EXPECT_EQ(revoke("model", LLMOS_SUBJECT_PID, first.pid()), 1u);
  first.is(true);
  second.is(false);
}

TEST_F(Revoke, CgroupLosesItWithAllBelowIt) {
  make_model("model", bytes);
  const Cgroup outer("llmos-outer"), inner("inner", outer.path()), other("llmos-other");
  {
    User above(root, &outer), below(root, &inner), beside(root, &other);
    EXPECT_EQ(revoke("model", LLMOS_SUBJECT_CGROUP, inner.open()), 1u);
    below.is(true);
    above.is(false);
    beside.is(false);
    EXPECT_EQ(revoke("model", LLMOS_SUBJECT_CGROUP, outer.open()), 1u) << "the inner one is revoked already";
    above.is(true);
    beside.is(false);
  }
}

TEST_F(Revoke, AgainFindsNothingLeft) {
  make_model("model", page);
  const Fd first = open_model("model"), second = open_model("model");
  EXPECT_EQ(revoke("model", LLMOS_SUBJECT_PID, getpid()), 2u);
  EXPECT_EQ(revoke("model", LLMOS_SUBJECT_PID, getpid()), 0u);
}

TEST_F(Revoke, KeepingAccessAllowsToOpenAgain) {
  make_model("model", bytes);
  const Fd fd = open_model("model");
  const Mapping map(fd, bytes);
  EXPECT_EQ(revoke("model", LLMOS_SUBJECT_UID, 0, LLMOS_REVOKE_KEEP_ACCESS), 1u);
  expect_revoked(fd, map);
  const Fd again = open_model("model");
  expect_untouched(again, Mapping(again, bytes));
  expect_revoked(fd, map);
}

TEST_F(Revoke, AllowedAgainDoesNotReviveTheOldGrant) {
  make_model("model", bytes);
  const Fd fd = open_model("model");
  const Mapping map(fd, bytes);
  revoke("model", LLMOS_SUBJECT_UID, 0);
  EXPECT_OK(model_revoke("model", LLMOS_SUBJECT_UID, 0, LLMOS_REVOKE_ALLOW));
  expect_revoked(fd, map);
  EXPECT_OK(open_model("model"));
}

TEST_F(Revoke, WhoSharesTheOpenLosesItToo) {
  make_model("model", bytes);
  const Fd fd = open_model("model");
  const Mapping map(fd, bytes);
  Child child([&](Child::Parent& parent) {
    map.touch();
    parent.tell();
    parent.wait();
    expect_revoked(fd, map);
    in_child([&] { expect_revoked(fd, map); });
  });
  child.wait();
  EXPECT_EQ(revoke("model", LLMOS_SUBJECT_PID, getpid()), 1u);
  child.tell();
  child.join();
}

TEST_F(Revoke, PrivateCopiesStayAndTheRestGoes) {
  make_model("model", bytes);
  const Fd fd = open_model("model");
  const Mapping mine(fd, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  mine.touch();
  mine.data()[3 * page] = std::byte{42};
  revoke("model", LLMOS_SUBJECT_PID, getpid());
  EXPECT_EQ(mine.signal_at(3 * page), 0);
  EXPECT_EQ(mine.data()[3 * page], std::byte{42});
  EXPECT_EQ(mine.signal_at(4 * page), SIGBUS);
  EXPECT_EQ(mine.signal_at(2 * huge_page, true), SIGBUS) << "no copy of what is not there";
}

TEST_F(Revoke, NoWayBackThroughTheMapping) {
  make_model("model", bytes);
  const Fd fd = open_model("model");
  const Mapping map(fd, bytes);
  map.touch();
  revoke("model", LLMOS_SUBJECT_PID, getpid());
  for (const int advice :
       {MADV_POPULATE_READ, MADV_WILLNEED, 25 /* MADV_COLLAPSE */, MADV_HUGEPAGE, MADV_DONTNEED, MADV_RANDOM})
    madvise(map.data(), bytes, advice);
  mlock(map.data(), bytes);
  mprotect(map.data(), page, PROT_NONE);
  mprotect(map.data(), page, PROT_READ);
  remap_file_pages(map.data(), page, 0, 0, 0);
  char word[8];
  iovec to = {word, 8}, from = {map.data(), 8};
  EXPECT_ERRNO(EFAULT, process_vm_readv(getpid(), &to, 1, &from, 1, 0));
  EXPECT_ERRNO(EIO, pread(Fd(open("/proc/self/mem", O_RDONLY)), word, 8, reinterpret_cast<off_t>(map.data())));
  void* moved = mremap(map.data(), huge_page, huge_page, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
  if (moved != MAP_FAILED) {
    EXPECT_EQ(Mapping(moved, huge_page).signal_at(0), SIGBUS);
  }
  for (const uint64_t frame : page_frames(map.data(), bytes)) EXPECT_EQ(frame, 0u);
  expect_revoked(fd, map);
}

TEST_F(Revoke, ReadersInALoopAreStopped) {
  make_model("model", bytes);
  const Fd fd = open_model("model");
  std::atomic<int> stopped = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; i++)
    readers.emplace_back([&] {
      std::vector<std::byte> buffer(64 * KiB);
      while (pread(fd, buffer.data(), buffer.size(), page) > 0) EXPECT_EQ(pattern_differs(buffer, page), std::nullopt);
      stopped += errno == ESTALE;
    });
  usleep(20000);
  revoke("model", LLMOS_SUBJECT_PID, getpid());
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(stopped, 3);
}

// Who can never open again leaves the deny list when it is full; while it is, nobody keeps what is revoked.
TEST_F(Revoke, FullDenyListForgetsTheDeadAndStillRevokes) {
  make_model("model", page);
  constexpr int most = 1024;
  for (int i = 0; i < most + 2; i++) {
    const Cgroup group("llmos-gone");
    ASSERT_EQ(revoke("model", LLMOS_SUBJECT_CGROUP, group.open()), 0u) << i;
  }
  for (int i = 1; i < most - 2; i++) ASSERT_EQ(revoke("model", LLMOS_SUBJECT_UID, 100000 + i), 0u) << i;
  int refused = 0;
  for (int i = 0; i < 4; i++) refused += model_revoke("model", LLMOS_SUBJECT_UID, 200000 + i) < 0 && errno == ENOSPC;
  ASSERT_GT(refused, 0);
  const Fd held = open_model("model");
  llmos_model_revoke result;
  EXPECT_ERRNO(ENOSPC, model_revoke("model", LLMOS_SUBJECT_PID, getpid(), 0, &result));
  EXPECT_EQ(result.revoked, 1u);
  char byte;
  EXPECT_ERRNO(ESTALE, pread(held, &byte, 1, 0));
  EXPECT_OK(close(open_model("model").release())) << "not denied";
}

TEST_F(Revoke, SubjectsThatMakeNoSenseAreRefused) {
  make_model("model", page);
  EXPECT_ERRNO(EINVAL, model_revoke("model", 0, 0));
  EXPECT_ERRNO(EINVAL, model_revoke("model", 4, 0));
  EXPECT_ERRNO(EINVAL, model_revoke("model", LLMOS_SUBJECT_UID, -1));
  EXPECT_ERRNO(EINVAL, model_revoke("model", LLMOS_SUBJECT_UID, UINT32_MAX));
  EXPECT_ERRNO(EINVAL, model_revoke("model", LLMOS_SUBJECT_UID, 1LL << 32));
  EXPECT_ERRNO(EINVAL, model_revoke("model", LLMOS_SUBJECT_PID, 0));
  EXPECT_ERRNO(EINVAL, model_revoke("model", LLMOS_SUBJECT_PID, -1));
  EXPECT_ERRNO(ESRCH, model_revoke("model", LLMOS_SUBJECT_PID, 4000000));
  EXPECT_ERRNO(EBADF, model_revoke("model", LLMOS_SUBJECT_CGROUP, -1));
  EXPECT_ERRNO(EBADF, model_revoke("model", LLMOS_SUBJECT_CGROUP, 4000));
  EXPECT_ERRNO(EBADF, model_revoke("model", LLMOS_SUBJECT_CGROUP, Fd(open("/tmp", O_RDONLY))));
}

TEST_F(Revoke, ProcessNumberIsTheCallersNamespaces) {
  make_model("model", page, {.uid = 0});
  const Fd mine = open_model("model");
  Child outer([](Child::Parent& parent) {
    if (unshare(CLONE_NEWPID)) throw_errno("unshare");
    in_child([&] {
      const Fd fd = open_model("model");
      EXPECT_EQ(revoke("model", LLMOS_SUBJECT_PID, 1), 1u);
      EXPECT_ERRNO(ESTALE, pread(fd, &parent, 1, 0));
    });
  });
  outer.join();
  EXPECT_EQ(stat_of("model").grants, 1u) << "process 1 of the outside was not meant";
}

// ---- DMA ----

TEST_F(Revoke, PagesUnderDmaAreBusyAndNotTornAway) {
  make_model("model", bytes);
  // A disk on which every write takes a second: the pages it comes from are pinned as long.
  LoopDisk backing("slow", 8 * MiB, 9);
  std::unique_ptr<MappedDisk> disk;
  try {
    disk = std::make_unique<MappedDisk>(
        "llmos-slow", std::vector<MappedDisk::Target>{{8 * MiB, "delay", backing.number() + " 0 1500"}});
  } catch (const std::system_error& error) {
    GTEST_SKIP() << error.what();
  }
  const Fd out = disk->open(O_RDWR | O_DIRECT);
  const Fd fd = open_model("model");
  const Mapping map(fd, bytes);
  map.touch();
  std::thread device([&] { EXPECT_EQ(pwrite(out, map.data() + huge_page, MiB, 0), static_cast<ssize_t>(MiB)); });
  usleep(300000);
  llmos_model_revoke result;
  EXPECT_OK(model_revoke("model", LLMOS_SUBJECT_PID, getpid(), 0, &result));
  EXPECT_EQ(result.revoked, 1u);
  EXPECT_EQ(result.busy_bytes, huge_page) << "the one huge page that the disk reads";
  EXPECT_EQ(map.signal_at(huge_page), SIGBUS);
  EXPECT_ERRNO(EBUSY, model_evict("model"));
  device.join();
  std::vector<std::byte> written(MiB);
  EXPECT_EQ(pread(disk->open(O_RDONLY), written.data(), MiB, 0), static_cast<ssize_t>(MiB));
  EXPECT_EQ(pattern_differs(written, huge_page), std::nullopt) << "the disk got something else";
  EXPECT_OK(model_revoke("model", LLMOS_SUBJECT_UID, 4242, 0, &result));
  EXPECT_EQ(result.busy_bytes, 0u);
}

// ---- the race ----

// Threads that fault pages in, by huge entries or by small ones, until the mapping is taken away.
class Faulters {
 public:
  Faulters(const Mapping& map, uint64_t chunk, int count) : map_(map), chunk_(chunk) {
    struct sigaction action = {};
    action.sa_handler = [](int) { siglongjmp(taken_away_, 1); };
    sigaction(SIGBUS, &action, nullptr);
    for (int i = 0; i < count; i++) threads_.emplace_back([this, i] { run(i); });
  }
  void join() {
    for (auto& thread : threads_) thread.join();
  }

 private:
  void run(unsigned seed) {
    if (!sigsetjmp(taken_away_, 1)) fault_for_ever(seed);
  }

  [[noreturn]] void fault_for_ever(unsigned seed) {
    for (;;) {
      seed = seed * 1103515245 + 12345;
      std::byte* at = map_.data() + (seed >> 8) % (map_.size() / chunk_) * chunk_;
      madvise(at, chunk_, MADV_DONTNEED);
      static_cast<void>(*static_cast<volatile std::byte*>(at));
    }
  }

  static thread_local sigjmp_buf taken_away_;
  const Mapping& map_;
  const uint64_t chunk_;  // that a fault maps at once
  std::vector<std::thread> threads_;
};
thread_local sigjmp_buf Faulters::taken_away_;

Mapping mapping_for_race(int fd, uint64_t size, bool by_small_pages) {
  if (!by_small_pages) return Mapping(fd, size);
  Mapping room(-1, 2 * size + huge_page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
  const uint64_t odd = (reinterpret_cast<uint64_t>(room.data()) + huge_page) / huge_page * huge_page + page;
  void* at = mmap(reinterpret_cast<void*>(odd), size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
  if (at == MAP_FAILED) throw_errno("mmap");
  room.release();  // what lies around goes with the process
  return Mapping(at, size);
}

// Revokes a process in the midst of its faults; true when it could still read something afterwards.
bool leaks(int round, bool by_small_pages) {
  constexpr uint64_t size = 16 * huge_page;
  const auto uid = static_cast<uid_t>(2000 + round);
  Child user([&](Child::Parent& parent) {
    const Fd pagemap(open("/proc/self/pagemap", O_RDONLY));
    become({uid, uid, {}});
    const Mapping map = mapping_for_race(open_model("model"), size, by_small_pages);
    Faulters faulters(map, by_small_pages ? 16 * page : huge_page, 3);
    parent.tell();
    parent.wait();
    faulters.join();
    std::vector<uint64_t> entries(size / page);
    const auto at = static_cast<off_t>(reinterpret_cast<uint64_t>(map.data()) / page * 8);
    ASSERT_EQ(pread(pagemap, entries.data(), entries.size() * 8, at), static_cast<ssize_t>(entries.size() * 8));
    int64_t present = 0;
    for (const uint64_t entry : entries) present += entry >> 63;
    parent.tell(present);
  });
  user.wait();
  usleep(1000 + round * 377 % 3000);
  EXPECT_EQ(revoke("model", LLMOS_SUBJECT_UID, uid), 1u);
  user.tell();
  const int64_t present = user.wait();
  user.join();
  return present != 0;
}

class RevokeRace : public ModuleTest, public testing::WithParamInterface<bool> {};

// A fault that has read the flag of its grant must be waited for. Both ways in are slowed down behind that point:
// ->map_pages calls filemap_map_pages(), and what ->fault brings is mapped by finish_fault().
TEST_P(RevokeRace, WithFaultsLeavesNothingMapped) {
  make_model("model", 16 * huge_page);
  const SlowFunction map_pages("filemap_map_pages"), fault("finish_fault");
  constexpr int rounds = 12;
  int leaked = 0;
  for (int round = 0; round < rounds; round++) leaked += leaks(round, GetParam());
  EXPECT_EQ(leaked, 0) << "of " << rounds;
}

INSTANTIATE_TEST_SUITE_P(Pages, RevokeRace, testing::Bool(),
                         [](const auto& info) { return info.param ? "Small" : "Huge"; });

// Faults on models sleep at the beginning of that function while this lives: the module of tests/vm/sleeper.
class SleepingFaults {
 public:
  explicit SleepingFaults(const std::string& function) { must_shell("modprobe llmos-sleeper ms=1000 function=" + function); }
  ~SleepingFaults() { shell("rmmod llmos-sleeper"); }
  SleepingFaults(const SleepingFaults&) = delete;
  SleepingFaults& operator=(const SleepingFaults&) = delete;

  static bool sleeps(pid_t pid) {
    return read_file("/proc/" + std::to_string(pid) + "/stack").find("[llmos_sleeper]") != std::string::npos;
  }
};

class RevokeSleepingFault : public ModuleTest, public testing::WithParamInterface<std::string> {};

// The race above cannot delay a fault beyond a grace period of RCU, which may hide that nothing else waits for it.
TEST_P(RevokeSleepingFault, LeavesNothingMapped) {
  if (!exists("/sys/kernel/tracing/available_filter_functions")) GTEST_SKIP() << "this kernel has no function tracing";
  make_model("model", huge_page);
  const SleepingFaults faults(GetParam());
  Child user([](Child::Parent& parent) {
    const Mapping map(open_model("model"), huge_page);
    parent.tell();
    map.signal_at(0);
    parent.wait();
    int64_t present = 0;
    for (const uint64_t frame : page_frames(map.data(), huge_page)) present += frame != 0;
    parent.tell(present);
  });
  user.wait();
  ASSERT_TRUE(eventually([&] { return SleepingFaults::sleeps(user.pid()); }));
  EXPECT_EQ(revoke("model", LLMOS_SUBJECT_PID, user.pid()), 1u);
  user.tell();
  EXPECT_EQ(user.wait(), 0);
  user.join();
}

// In ->fault, and behind it.
INSTANTIATE_TEST_SUITE_P(In, RevokeSleepingFault, testing::Values("filemap_fault", "finish_fault"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace llmos::guest
