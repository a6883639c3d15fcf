// SPDX-License-Identifier: MIT
// Reading and mapping a sealed model: by huge pages wherever the kernel puts it, whole and exact, shared by all.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

using Map = ModuleTest;
using Read = ModuleTest;

const std::string thp_switch = "/sys/kernel/mm/transparent_hugepage/enabled";

uint64_t huge_mapped(const Mapping& map) { return smaps(map.data(), "FilePmdMapped"); }

class MapSizes : public ModuleTest, public testing::WithParamInterface<std::tuple<uint64_t, int>> {};

TEST_P(MapSizes, ByHugePagesAtAnAddressTheKernelChooses) {
  const auto [bytes, flags] = GetParam();
  make_model("model", bytes);
  const Mapping map(open_model("model"), bytes, PROT_READ, flags);
  EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
  const uint64_t pages = (bytes + page - 1) / page * page;
  EXPECT_EQ(huge_mapped(map), pages / huge_page * huge_page);
  EXPECT_EQ(smaps(map.data(), "Rss"), pages);
}

INSTANTIATE_TEST_SUITE_P(Sizes, MapSizes,
                         testing::Combine(testing::Values(uint64_t{1}, page + 1, huge_page - 1, huge_page,
                                                          huge_page + 1, 4 * huge_page, 8 * huge_page - 5,
                                                          32 * huge_page + 12289),
                                          testing::Values(MAP_SHARED, MAP_PRIVATE, MAP_SHARED | MAP_POPULATE)));

TEST_F(Map, ByHugePagesWithTheThpSettingNever) {
  if (!exists(thp_switch)) GTEST_SKIP() << "this kernel has no such setting";
  const Setting never(thp_switch, "never");
  make_model("model", 4 * huge_page);
  EXPECT_EQ(stat_of("model").huge, 4 * huge_page);
  const Mapping map(open_model("model"), 4 * huge_page);
  EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
  EXPECT_EQ(huge_mapped(map), 4 * huge_page);
}

TEST_F(Map, ProcessThatWantsNoHugePagesReadsTheSameBytes) {
  make_model("model", 4 * huge_page + 1);
  in_child([] {
    ASSERT_EQ(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0);
    const Mapping map(open_model("model"), 4 * huge_page + 1);
    EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
  });
}

TEST_F(Map, PartOfAModelByHugePages) {
  make_model("model", 8 * huge_page);
  const Mapping map(open_model("model"), 3 * huge_page, PROT_READ, MAP_SHARED, 2 * huge_page);
  EXPECT_EQ(pattern_differs(map.bytes(), 2 * huge_page), std::nullopt);
  EXPECT_EQ(huge_mapped(map), 3 * huge_page);
  const Mapping odd(open_model("model"), 3 * huge_page, PROT_READ, MAP_SHARED, 5 * page);
  EXPECT_EQ(pattern_differs(odd.bytes(), 5 * page), std::nullopt);
}

// A fault maps the 16 huge pages of its 32 MiB.
class MapAround : public ModuleTest {
 protected:
  static constexpr uint64_t around = 16 * huge_page;
  void SetUp() override {
    ModuleTest::SetUp();
    make_model("model", 48 * huge_page + 1);
  }
  // Pages of the model from there on, at an address that is a multiple of 32 MiB and another 64 MiB behind the room's begin.
  static Mapping map_aligned(uint64_t bytes, uint64_t offset, uint64_t behind = 0, int flags = MAP_SHARED,
                             int protection = PROT_READ) {
    Mapping room(-1, bytes + 4 * around, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
    const uint64_t aligned = (reinterpret_cast<uint64_t>(room.data()) + around - 1) / around * around + behind;
    void* const at = mmap(reinterpret_cast<void*>(aligned), bytes, protection, flags | MAP_FIXED, open_model("model"),
                          static_cast<off_t>(offset));
    if (at == MAP_FAILED) throw_errno("mmap");
    room.release();  // goes with the process
    return Mapping(at, bytes);
  }
  static void read_at(const Mapping& map, uint64_t offset) {
    static_cast<void>(*static_cast<volatile std::byte*>(map.data() + offset));
  }
};

TEST_F(MapAround, OneFaultMapsTheHugePagesAroundIt) {
  const Mapping map = map_aligned(48 * huge_page, 0);
  read_at(map, 20 * huge_page + 7 * page);
  EXPECT_EQ(huge_mapped(map), around);
  EXPECT_EQ(smaps(map.data(), "Rss"), around);
  const auto frames = page_frames(map.data(), map.size());
  EXPECT_EQ(std::count(frames.begin(), frames.end(), 0), static_cast<long>(2 * around / page));
  EXPECT_NE(frames[around / page], 0u);
  EXPECT_NE(frames[2 * around / page - 1], 0u);
  EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
}

TEST_F(MapAround, NothingOutsideTheMappingOrTheModel) {
  const Mapping map = map_aligned(3 * huge_page, 45 * huge_page, 5 * huge_page);  // the last three, and no tail
  read_at(map, huge_page);
  EXPECT_EQ(huge_mapped(map), 3 * huge_page);
  EXPECT_EQ(pattern_differs(map.bytes(), 45 * huge_page), std::nullopt);
  const Mapping longer = map_aligned(8 * huge_page, 44 * huge_page);
  read_at(longer, 0);
  EXPECT_EQ(huge_mapped(longer), 4 * huge_page);
  EXPECT_EQ(longer.signal_at(4 * huge_page), 0);
  EXPECT_EQ(longer.signal_at(4 * huge_page + page), SIGBUS);
}

TEST_F(MapAround, PrivateCopiesStay) {
  const Mapping map = map_aligned(16 * huge_page, 0, 0, MAP_PRIVATE, PROT_READ | PROT_WRITE);
  map.data()[3 * huge_page + 5] = std::byte{0xa5};
  read_at(map, 0);
  EXPECT_EQ(huge_mapped(map), 15 * huge_page);
  EXPECT_EQ(map.data()[3 * huge_page + 5], std::byte{0xa5});
  EXPECT_EQ(pattern_differs(map.bytes().first(3 * huge_page)), std::nullopt);
  EXPECT_EQ(pattern_differs(map.bytes().subspan(3 * huge_page + page), 3 * huge_page + page), std::nullopt);
}

TEST_F(Map, AtAnAddressThatCannotTakeHugePages) {
  make_model("model", 4 * huge_page);
  const Mapping room(-1, 12 * huge_page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
  const uint64_t odd = (reinterpret_cast<uint64_t>(room.data()) + huge_page) / huge_page * huge_page + page;
  void* at =
      mmap(reinterpret_cast<void*>(odd), 4 * huge_page, PROT_READ, MAP_SHARED | MAP_FIXED, open_model("model"), 0);
  ASSERT_NE(at, MAP_FAILED);
  const Mapping map(at, 4 * huge_page);
  EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
  EXPECT_EQ(huge_mapped(map), 0u);
}

TEST_F(Map, ModelOfSmallPages) {
  make_model("model", 2 * huge_page + 1, {.page_shift = 12});
  const Mapping map(open_model("model"), 2 * huge_page + 1);
  EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
  EXPECT_EQ(huge_mapped(map), 0u);
}

TEST_F(Map, TailIsExact) {
  const uint64_t bytes = huge_page + page + 10;
  make_model("model", bytes);
  const Mapping map(open_model("model"), 2 * huge_page);
  EXPECT_EQ(pattern_differs(map.bytes().first(bytes)), std::nullopt);
  EXPECT_TRUE(all_zero(map.bytes().subspan(bytes, huge_page + 2 * page - bytes)));
  EXPECT_EQ(map.signal_at(huge_page + 2 * page - 1), 0);
  EXPECT_EQ(map.signal_at(huge_page + 2 * page), SIGBUS);
}

TEST_F(Map, ChildOfAForkHasItToo) {
  const uint64_t bytes = 4 * huge_page;
  make_model("model", bytes);
  const Mapping map(open_model("model"), bytes);
  map.touch();
  in_child([&] {
    EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
    EXPECT_EQ(huge_mapped(map), bytes);
  });
}

TEST_F(Map, MovedByMremap) {
  const uint64_t bytes = 4 * huge_page;
  make_model("model", bytes);
  Mapping map(open_model("model"), bytes);
  map.touch();
  Mapping room(-1, bytes + huge_page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
  const uint64_t to = (reinterpret_cast<uint64_t>(room.data()) + huge_page - 1) / huge_page * huge_page;
  void* at = mremap(map.data(), bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, reinterpret_cast<void*>(to));
  ASSERT_NE(at, MAP_FAILED);
  const Mapping moved(at, bytes);
  map.release();
  EXPECT_EQ(pattern_differs(moved.bytes()), std::nullopt);
  EXPECT_EQ(huge_mapped(moved), bytes);
}

TEST_F(Map, MremapDoesNotGrowIt) {
  make_model("model", 2 * huge_page);
  const Mapping map(open_model("model"), huge_page);
  EXPECT_ERRNO(EFAULT, mremap(map.data(), huge_page, 2 * huge_page, MREMAP_MAYMOVE));
  EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
}

TEST_F(Map, HoleInAHugePage) {
  const uint64_t bytes = 3 * huge_page;
  make_model("model", bytes);
  const Mapping map(open_model("model"), bytes);
  map.touch();
  ASSERT_EQ(munmap(map.data() + huge_page + 5 * page, page), 0);
  EXPECT_EQ(pattern_differs(map.bytes().first(huge_page + 5 * page)), std::nullopt);
  EXPECT_EQ(pattern_differs(map.bytes().subspan(huge_page + 6 * page), huge_page + 6 * page), std::nullopt);
  EXPECT_EQ(stat_of("model").huge, bytes) << "the hole is the mapping's, not the model's";
  const Mapping whole(open_model("model"), bytes);
  whole.touch();
  EXPECT_EQ(huge_mapped(whole), bytes);
}

TEST_F(Map, ManyProcessesShareOneCopy) {
  const uint64_t bytes = 16 * huge_page;
  constexpr int users = 4;
  make_model("model", bytes);
  const uint64_t free_before = meminfo("MemAvailable");
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < users; i++)
    children.push_back(std::make_unique<Child>([&](Child::Parent& parent) {
      const Mapping map(open_model("model"), bytes);
      EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
      parent.tell();
      parent.wait();
      EXPECT_EQ(smaps(map.data(), "Rss"), bytes);
      EXPECT_LE(smaps(map.data(), "Pss"), bytes / users + page);
      parent.tell();
      parent.wait();
    }));
  for (auto& child : children) child->wait();
  EXPECT_GT(meminfo("MemAvailable") + bytes, free_before) << "four users take the memory of more than one";
  EXPECT_EQ(memory_current(), bytes);
  for (int step = 0; step < 2; step++) {
    for (auto& child : children) child->tell();
    if (step == 0)
      for (auto& child : children) child->wait();
  }
  for (auto& child : children) child->join();
}

TEST_F(Map, PageTablesStaySmall) {
  const uint64_t bytes = 256 * MiB;
  make_model("model", bytes);
  in_child([&] {
    const auto tables = [] {
      return std::stoull(must_shell("awk '/VmPTE/ {print $2}' /proc/" + std::to_string(getpid()) + "/status")) * KiB;
    };
    const uint64_t before = tables();
    const Mapping map(open_model("model"), bytes);
    map.touch();
    EXPECT_LE(tables() - before, 2 * page);
  });
}

TEST_F(Map, OtherPartsOfTheKernelReadFromIt) {
  const uint64_t bytes = 2 * huge_page;
  make_model("model", bytes);
  const Mapping map(open_model("model"), bytes);
  const ScratchFile direct("direct"), plain("plain");
  EXPECT_EQ(pwrite(direct.open(O_RDWR | O_DIRECT), map.data(), bytes, 0), static_cast<ssize_t>(bytes));
  EXPECT_EQ(pattern_differs_in(direct.open(), bytes), std::nullopt);
  EXPECT_EQ(pwrite(plain.open(O_RDWR), map.data(), bytes, 0), static_cast<ssize_t>(bytes));
  EXPECT_EQ(pattern_differs_in(plain.open(), bytes), std::nullopt);
  std::vector<std::byte> copy(bytes);
  iovec to = {copy.data(), bytes}, from = {map.data(), bytes};
  EXPECT_EQ(process_vm_readv(getpid(), &to, 1, &from, 1, 0), static_cast<ssize_t>(bytes));
  EXPECT_EQ(pattern_differs(copy), std::nullopt);
  EXPECT_OK(mlock(map.data(), bytes));
  EXPECT_OK(munlock(map.data(), bytes));
}

// ---- memory that stays ----

uint64_t core_size(const std::function<void()>& prepare) {
  const Setting pattern("/proc/sys/kernel/core_pattern", "/scratch/core.%p");
  rlimit limit, unlimited = {RLIM_INFINITY, RLIM_INFINITY};
  getrlimit(RLIMIT_CORE, &limit);
  setrlimit(RLIMIT_CORE, &unlimited);
  Child child([&](Child::Parent&) {
    write_file("/proc/self/coredump_filter", "0xff");
    prepare();
    abort();
  });
  const std::string core = "/scratch/core." + std::to_string(child.pid());
  int status;
  waitpid(child.pid(), &status, 0);
  setrlimit(RLIMIT_CORE, &limit);
  EXPECT_TRUE(WIFSIGNALED(status) && WCOREDUMP(status));
  struct stat stat = {};
  EXPECT_OK(::stat(core.c_str(), &stat));
  unlink(core.c_str());
  return stat.st_blocks * 512;
}

TEST_F(Map, NotInCoreDumps) {
  make_model("model", 64 * MiB);
  const auto with_model = [](int protection, int flags, bool removed) {
    return [=] {
      const Mapping map(open_model("model"), 64 * MiB, protection, flags);
      map.touch();
      if (protection & PROT_WRITE) map.data()[0] = std::byte{1};
      EXPECT_NE(vm_flags(map.data()).find(" dd"), std::string::npos);
      if (removed) model_remove("model");
      abort();
    };
  };
  EXPECT_LT(core_size(with_model(PROT_READ, MAP_SHARED, false)), 16 * MiB);
  EXPECT_LT(core_size(with_model(PROT_READ | PROT_WRITE, MAP_PRIVATE, false)), 16 * MiB);
  EXPECT_LT(core_size(with_model(PROT_READ, MAP_SHARED, true)), 16 * MiB);
  EXPECT_GT(core_size([] {
              const Mapping map(-1, 64 * MiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
              memset(map.data(), 1, 64 * MiB);
              abort();
            }),
            64 * MiB)
      << "this test would not see a model in the core";
}

TEST_F(Map, NotSwappedNorReclaimed) {
  const uint64_t bytes = 32 * MiB;
  const Cgroup group("llmos-swap");
  const std::string swap = "/scratch/swap";
  must_shell("fallocate -l 256M " + swap + " && chmod 600 " + swap + " && mkswap " + swap);
  if (shell("swapon " + swap).status) GTEST_SKIP() << "no swap on this kernel";
  in_child([&] {
    group.enter();
    make_model("model", bytes);
    const Mapping map(open_model("model"), bytes),
        other(-1, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    memset(other.data(), 7, bytes);
    map.touch();
    const auto frames = page_frames(map.data(), bytes);
    madvise(map.data(), bytes, MADV_PAGEOUT);
    madvise(other.data(), bytes, MADV_PAGEOUT);
    write_file(group.path() + "/memory.reclaim", "1G");
    EXPECT_GT(smaps(other.data(), "Swap"), 0u) << "this test would not see a model swapped";
    std::vector<unsigned char> resident(bytes / page);
    ASSERT_EQ(mincore(map.data(), bytes, resident.data()), 0);
    EXPECT_TRUE(std::ranges::all_of(resident, [](unsigned char in) { return in & 1; }));
    map.touch();
    EXPECT_EQ(page_frames(map.data(), bytes), frames);
    EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
  });
  must_shell("swapoff " + swap + " && rm " + swap);
}

// ---- reading ----

TEST_F(Read, EveryWayOfReadingGivesTheSameBytes) {
  const uint64_t bytes = huge_page + 3 * page + 77;
  make_model("model", bytes);
  const Fd fd = open_model("model");
  std::vector<std::byte> all(bytes);
  iovec halves[2] = {{all.data(), bytes / 2}, {all.data() + bytes / 2, bytes - bytes / 2}};
  EXPECT_EQ(preadv(fd, halves, 2, 0), static_cast<ssize_t>(bytes));
  EXPECT_EQ(pattern_differs(all), std::nullopt);
  std::ranges::fill(all, std::byte{0});
  EXPECT_EQ(preadv2(fd, halves, 2, 0, RWF_NOWAIT), static_cast<ssize_t>(bytes));
  EXPECT_EQ(pattern_differs(all), std::nullopt);

  const ScratchFile sink("sink");
  const Fd out = sink.open(O_RDWR);
  off_t at = 0;
  while (at < static_cast<off_t>(bytes)) ASSERT_GT(sendfile(out, fd, &at, bytes), 0);
  EXPECT_EQ(pattern_differs_in(out, bytes), std::nullopt);
}

TEST_F(Read, DirectReads) {
  const uint64_t bytes = 2 * huge_page + 100;
  make_model("model", bytes);
  const Fd fd = open_model("model", O_RDONLY | O_DIRECT);
  ASSERT_GE(fd, 0);
  const Mapping buffer(-1, 4 * huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
  EXPECT_EQ(pread(fd, buffer.data(), 4 * huge_page, 0), static_cast<ssize_t>(bytes));
  EXPECT_EQ(pattern_differs(buffer.bytes().first(bytes)), std::nullopt);
}

TEST_F(Read, PositionsAndEndOfFile) {
  const Fd loader = make_model("model", 5000);
  const Fd fd = open_model("model");
  char text[100];
  for (const int each : {static_cast<int>(fd), static_cast<int>(loader)}) {
    EXPECT_EQ(lseek(each, 0, SEEK_END), 5000);
    EXPECT_EQ(read(each, text, 100), 0);
    EXPECT_EQ(lseek(each, -10, SEEK_CUR), 4990);
    EXPECT_EQ(read(each, text, 100), 10);
    EXPECT_EQ(pattern_differs(std::as_bytes(std::span(text).first(10)), 4990), std::nullopt);
    EXPECT_EQ(pread(each, text, 100, 5000), 0);
    EXPECT_EQ(pread(each, text, 100, 1 << 30), 0);
  }
}

TEST_F(Read, LoaderReadsItsModelAfterTheSeal) {
  const Fd loader = make_model("model", huge_page + 1);
  EXPECT_EQ(pattern_differs_in(loader, huge_page + 1), std::nullopt);
  const Mapping map(loader, huge_page + 1);
  EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
}

}  // namespace
}  // namespace llmos::guest
