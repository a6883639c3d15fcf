// SPDX-License-Identifier: MIT
// Getting bytes into a model: by writes from many threads, and straight from a file by FILL.
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <system_error>
#include <thread>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

using Write = ModuleTest;
using Fill = ModuleTest;

// ---- write ----

TEST_F(Write, InAnyOrderAndInOddParts) {
  const uint64_t bytes = 2 * huge_page + 3 * page + 77;
  const auto wanted = pattern_bytes(bytes);
  const Fd fd = create("model", bytes);
  std::vector<uint64_t> starts;
  for (uint64_t at = 0; at < bytes; at += 70001) starts.push_back(at);
  for (size_t i = 0; i < starts.size(); i++) {
    const uint64_t at = starts[i * 37 % starts.size()];
    const uint64_t size = std::min<uint64_t>(70001, bytes - at);
    ASSERT_EQ(pwrite(fd, &wanted[at], size, static_cast<off_t>(at)), static_cast<ssize_t>(size));
  }
  EXPECT_EQ(stat_of(fd).filled, bytes);
  ASSERT_EQ(model_seal(fd), 0);
  EXPECT_EQ(pattern_differs_in(fd, bytes), std::nullopt);
}

TEST_F(Write, ByPositionAndByVector) {
  const Fd fd = create("model", 300);
  const auto wanted = pattern_bytes(300);
  EXPECT_EQ(write(fd, wanted.data(), 100), 100);
  iovec parts[2] = {{const_cast<std::byte*>(&wanted[100]), 50}, {const_cast<std::byte*>(&wanted[150]), 150}};
  EXPECT_EQ(writev(fd, parts, 2), 200);
  EXPECT_ERRNO(EFBIG, write(fd, "x", 1));
  EXPECT_ERRNO(EFAULT, pwrite(fd, reinterpret_cast<void*>(16), 10, 0));
  EXPECT_EQ(pwrite(fd, "", 0, 0), 0);
  EXPECT_EQ(pwrite(fd, wanted.data(), 1, 0), 1) << "nothing but what was asked for is changed";
  ASSERT_EQ(model_seal(fd), 0);
  EXPECT_EQ(pattern_differs_in(fd, 300), std::nullopt);
}

TEST_F(Write, FromPipesAndFilesWithoutCopies) {
  const uint64_t bytes = 3 * MiB + 5;
  const ScratchFile file("source", bytes);
  const Fd source = file.open();
  const Fd fd = create("model", bytes);
  off_t at = 0;
  while (at < static_cast<off_t>(bytes)) ASSERT_GT(sendfile(fd, source, &at, bytes), 0);
  ASSERT_EQ(model_seal(fd), 0);
  EXPECT_EQ(pattern_differs_in(fd, bytes), std::nullopt);
}

TEST_F(Write, ThreadsAtOnceEachTheirParts) {
  constexpr uint64_t bytes = 32 * MiB, part = 96 * KiB + 13;
  constexpr int threads = 4;
  const Fd fd = create("model", bytes);
  std::atomic<uint64_t> next = 0;
  std::vector<std::thread> writers;
  for (int i = 0; i < threads; i++)
    writers.emplace_back([&] {
      std::vector<std::byte> buffer(part);
      for (uint64_t at; (at = next.fetch_add(part)) < bytes;) {
        const auto out = std::span(buffer).first(std::min(part, bytes - at));
        pattern(out, at);
        EXPECT_EQ(pwrite(fd, out.data(), out.size(), static_cast<off_t>(at)), static_cast<ssize_t>(out.size()));
      }
    });
  for (auto& writer : writers) writer.join();
  ASSERT_EQ(model_seal(fd), 0);
  EXPECT_EQ(pattern_differs_in(fd, bytes), std::nullopt);
}

// A page of memory whose first access waits until it is filled: whoever writes from it stands still half-way.
class StuckPage {
 public:
  StuckPage()
      : fd_(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC))),
        map_(-1, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS) {
    if (fd_ < 0) return;
    uffdio_api api = {.api = UFFD_API};
    uffdio_register range = {{reinterpret_cast<uint64_t>(map_.data()), page}, UFFDIO_REGISTER_MODE_MISSING, 0};
    if (ioctl(fd_, UFFDIO_API, &api) || ioctl(fd_, UFFDIO_REGISTER, &range)) throw_errno("userfaultfd");
  }
  bool works() const { return fd_ >= 0; }
  const std::byte* data() const { return map_.data(); }
  void wait_until_touched() {
    uffd_msg message;
    if (read(fd_, &message, sizeof(message)) != sizeof(message)) throw_errno("userfaultfd");
  }
  void fill(const std::byte* with) {
    uffdio_copy copy = {reinterpret_cast<uint64_t>(map_.data()), reinterpret_cast<uint64_t>(with), page, 0, 0};
    if (ioctl(fd_, UFFDIO_COPY, &copy)) throw_errno("UFFDIO_COPY");
  }

 private:
  Fd fd_;
  Mapping map_;
};

TEST_F(Write, OneThatStandsStillStopsNeitherOthersNorIsOvertakenByTheSeal) {
  StuckPage stuck;
  if (!stuck.works()) GTEST_SKIP() << "no userfaultfd here";
  const Fd fd = create("model", 4 * page);
  const auto content = pattern_bytes(4 * page);
  std::thread slow([&] { EXPECT_EQ(pwrite(fd, stuck.data(), page, page), static_cast<ssize_t>(page)); });
  stuck.wait_until_touched();
  EXPECT_EQ(pwrite(fd, content.data(), page, 0), static_cast<ssize_t>(page)) << "in the same huge page even";
  EXPECT_EQ(pwrite(fd, &content[2 * page], 2 * page, 2 * page), static_cast<ssize_t>(2 * page));
  EXPECT_ERRNO(EBUSY, model_seal(fd));
  EXPECT_ERRNO(ENOENT, open_model("model"));
  EXPECT_OK(Fd(model_create("other", page)));
  stuck.fill(&content[page]);
  slow.join();
  EXPECT_OK(model_seal(fd));
  EXPECT_EQ(pattern_differs_in(fd, 4 * page), std::nullopt);
}

// ---- fill ----

enum class Source { direct, buffered };

class FillSizes : public ModuleTest, public testing::WithParamInterface<std::tuple<uint64_t, Source>> {};

TEST_P(FillSizes, WholeFileArrives) {
  const auto [bytes, kind] = GetParam();
  const ScratchFile file("source", bytes);
  const Fd source = file.open(O_RDONLY | (kind == Source::direct ? O_DIRECT : 0));
  const Fd fd = create("model", bytes);
  uint64_t done = 0;
  ASSERT_EQ(model_fill(fd, source, 0, 0, 0, &done), 0) << error_name(errno);
  EXPECT_EQ(done, bytes);
  EXPECT_EQ(stat_of(fd).filled, bytes);
  ASSERT_EQ(model_seal(fd), 0);
  const Mapping map(fd, bytes);
  EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
  const uint64_t end = (bytes + page - 1) / page * page;
  const Mapping last(fd, page, PROT_READ, MAP_SHARED, end - page);
  EXPECT_TRUE(all_zero(last.bytes().subspan(bytes - (end - page)))) << "behind the end";
}

INSTANTIATE_TEST_SUITE_P(Sizes, FillSizes,
                         testing::Combine(testing::Values(1, 4095, 4096, 4097, 2 * MiB - 1, 2 * MiB, 2 * MiB + 1,
                                                          64 * MiB + 12289),
                                          testing::Values(Source::direct, Source::buffered)),
                         [](const auto& info) {
                           return std::to_string(std::get<0>(info.param)) +
                                  (std::get<1>(info.param) == Source::direct ? "Direct" : "Buffered");
                         });

TEST_F(Fill, SourceLongerThanTheModelLeavesNoTraceBehindTheEnd) {
  const ScratchFile file("source", 3 * MiB);
  for (const int flags : {O_DIRECT, 0}) {
    const uint64_t bytes = huge_page + 100;
    const Fd fd = create("model", bytes);
    ASSERT_EQ(model_fill(fd, file.open(O_RDONLY | flags)), 0);
    EXPECT_EQ(stat_of(fd).filled, bytes);
    ASSERT_EQ(model_seal(fd), 0);
    const Mapping map(fd, huge_page + page);
    EXPECT_EQ(pattern_differs(map.bytes().first(bytes)), std::nullopt);
    EXPECT_TRUE(all_zero(map.bytes().subspan(bytes)));
    EXPECT_OK(model_remove("model"));
  }
}

TEST_F(Fill, PartsFromDifferentPlacesOfTheFile) {
  const uint64_t bytes = 2 * huge_page + 5 * page + 100;
  const ScratchFile file("source", bytes + MiB);
  for (const int flags : {O_DIRECT, 0}) {
    const Fd source = file.open(O_RDONLY | flags), fd = create("model", bytes);
    uint64_t done = 0;
    EXPECT_OK(model_fill(fd, source, 3 * page, 3 * page, huge_page, &done));
    EXPECT_EQ(done, huge_page);
    EXPECT_OK(model_fill(fd, source, 0, 0, 3 * page));
    EXPECT_OK(model_fill(fd, source, huge_page + 3 * page, huge_page + 3 * page, 0));
    EXPECT_EQ(stat_of(fd).filled, bytes);
    ASSERT_EQ(model_seal(fd), 0);
    EXPECT_EQ(pattern_differs_in(fd, bytes), std::nullopt);
    EXPECT_OK(model_remove("model"));

    const Fd shifted = create("model", 64 * KiB);
    EXPECT_OK(model_fill(shifted, source, 0, MiB));
    ASSERT_EQ(model_seal(shifted), 0);
    const Mapping map(shifted, 64 * KiB);
    EXPECT_EQ(pattern_differs(map.bytes(), MiB), std::nullopt);
    EXPECT_OK(model_remove("model"));
  }
}

TEST_F(Fill, PartsFromSeveralThreadsAtOnce) {
  const uint64_t bytes = 16 * MiB;
  const ScratchFile file("source", bytes);
  const Fd source = file.open(O_RDONLY | O_DIRECT), fd = create("model", bytes);
  std::vector<std::thread> fillers;
  for (uint64_t i = 0; i < 4; i++)
    fillers.emplace_back([&, i] { EXPECT_OK(model_fill(fd, source, i * 4 * MiB, i * 4 * MiB, 4 * MiB)); });
  for (auto& filler : fillers) filler.join();
  ASSERT_EQ(model_seal(fd), 0);
  EXPECT_EQ(pattern_differs_in(fd, bytes), std::nullopt);
}

TEST_F(Fill, FromABlockDevice) {
  const LoopDisk disk("disk", 8 * MiB, 3);
  for (const int flags : {O_DIRECT, 0}) {
    const Fd source(open(disk.path().c_str(), O_RDONLY | flags | O_CLOEXEC));
    const Fd fd = create("model", 5 * MiB + 7);
    ASSERT_EQ(model_fill(fd, source), 0);
    ASSERT_EQ(model_seal(fd), 0);
    EXPECT_EQ(pattern_differs_in(fd, 5 * MiB + 7, 3), std::nullopt);
    EXPECT_OK(model_remove("model"));
    const Fd longer = create("model", 9 * MiB);
    EXPECT_ERRNO(ENODATA, model_fill(longer, source));
  }
}

TEST_F(Fill, FromAnotherModel) {
  make_model("first", 3 * MiB + 1);
  const Fd fd = create("second", 3 * MiB + 1);
  EXPECT_OK(model_fill(fd, open_model("first")));
  EXPECT_ERRNO(EBUSY, model_fill(fd, fd)) << "from itself";
  ASSERT_EQ(model_seal(fd), 0);
  EXPECT_EQ(pattern_differs_in(fd, 3 * MiB + 1), std::nullopt);
}

TEST_F(Fill, AnyDepth) {
  const ScratchFile file("source", 9 * MiB);
  for (const uint32_t depth : {1u, 2u, 256u}) {
    const Fd fd = create("model", 9 * MiB), source = file.open(O_RDONLY | O_DIRECT);
    auto args = sized<llmos_model_fill>();
    args.fd = source;
    args.depth = depth;
    EXPECT_OK(command(fd, LLMOS_MODEL_FILL, args));
    ASSERT_EQ(model_seal(fd), 0);
    EXPECT_EQ(pattern_differs_in(fd, 9 * MiB), std::nullopt);
    EXPECT_OK(model_remove("model"));
  }
  const Fd fd = create("model", page);
  auto args = sized<llmos_model_fill>();
  args.fd = file.open();
  args.depth = 257;
  EXPECT_ERRNO(EINVAL, command(fd, LLMOS_MODEL_FILL, args));
}

TEST_F(Fill, SourcesThatAreNoFiles) {
  const Fd fd = create("model", page);
  int pipe[2];
  ASSERT_EQ(pipe2(pipe, O_CLOEXEC), 0);
  const Fd out(pipe[0]), in(pipe[1]), socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  const ScratchFile file("source", page);
  EXPECT_ERRNO(ESPIPE, model_fill(fd, out));
  EXPECT_ERRNO(ESPIPE, model_fill(fd, socket));
  EXPECT_ERRNO(ESPIPE, model_fill(fd, Fd(open("/dev/zero", O_RDONLY))));
  EXPECT_ERRNO(ESPIPE, model_fill(fd, device()));
  EXPECT_ERRNO(EISDIR, model_fill(fd, Fd(open("/scratch", O_RDONLY))));
  EXPECT_ERRNO(EBADF, model_fill(fd, file.open(O_WRONLY)));
  EXPECT_ERRNO(EBADF, model_fill(fd, file.open(O_PATH)));
  EXPECT_ERRNO(EBADF, model_fill(fd, -1));
  EXPECT_ERRNO(EBADF, model_fill(fd, 4000));
  EXPECT_EQ(stat_of(fd).filled, 0u);
}

TEST_F(Fill, RangesThatDoNotFit) {
  const Fd fd = create("model", 5 * page + 100);
  const ScratchFile file("source", MiB);
  const Fd source = file.open();
  EXPECT_ERRNO(EINVAL, model_fill(fd, source, 1));
  EXPECT_ERRNO(EINVAL, model_fill(fd, source, 0, 0, 100));
  EXPECT_ERRNO(EINVAL, model_fill(fd, source, page, 0, page + 1));
  EXPECT_ERRNO(EFBIG, model_fill(fd, source, 6 * page));
  EXPECT_ERRNO(EFBIG, model_fill(fd, source, UINT64_MAX / page * page));
  EXPECT_ERRNO(EFBIG, model_fill(fd, source, page, 0, 5 * page));
  EXPECT_ERRNO(EFBIG, model_fill(fd, source, 0, 0, UINT64_MAX));
  EXPECT_ERRNO(EOVERFLOW, model_fill(fd, source, 0, UINT64_MAX - page));
  EXPECT_OK(model_fill(fd, source, 5 * page, 0, 100)) << "the last part need not be whole pages";
}

// ---- fills that fail ----

TEST_F(Fill, SourceThatEndsTooEarly) {
  for (const int flags : {O_DIRECT, 0}) {
    for (const uint64_t size : {uint64_t{0}, uint64_t{100}, 3 * MiB, 3 * MiB + 100}) {
      const ScratchFile file("source", size);
      const Fd fd = create("model", 5 * MiB);
      uint64_t done = 77;
      EXPECT_ERRNO(ENODATA, model_fill(fd, file.open(O_RDONLY | flags), 0, 0, 0, &done));
      EXPECT_LE(done, size);
      EXPECT_EQ(stat_of(fd).filled, done);
      // Not lost: the rest may come from elsewhere.
      write_pattern(fd, 5 * MiB, 4);
      EXPECT_OK(model_seal(fd));
      EXPECT_EQ(pattern_differs_in(fd, 5 * MiB, 4), std::nullopt);
      EXPECT_OK(model_remove("model"));
    }
  }
}

TEST_F(Fill, SourceTruncatedMeanwhile) {
  constexpr uint64_t bytes = 128 * MiB;
  int cut = 0;
  for (int round = 0; round < 10 && !cut; round++) {
    const ScratchFile file("source", bytes);
    const Fd fd = create("model", bytes), source = file.open(O_RDONLY | O_DIRECT);
    std::thread cutter([&] {
      eventually([&] { return stat_of(fd).filled > 0; });
      EXPECT_EQ(truncate(file.path().c_str(), 4 * MiB), 0);
    });
    const int error = errno_of([&] { return model_fill(fd, source); });
    cutter.join();
    EXPECT_TRUE(error == 0 || error == ENODATA) << error_name(error);
    cut += error == ENODATA;
  }
  EXPECT_EQ(cut, 1) << "never caught in the act";
}

TEST_F(Fill, DiskErrorIsReportedAndTheRestCanBeFilled) {
  std::unique_ptr<MappedDisk> disk;
  try {
    disk = std::make_unique<MappedDisk>(
        "llmos-bad",
        std::vector<MappedDisk::Target>{{6 * MiB, "zero", ""}, {2 * MiB, "error", ""}, {4 * MiB, "zero", ""}});
  } catch (const std::system_error& error) {
    GTEST_SKIP() << error.what();
  }
  for (const int flags : {O_DIRECT, 0}) {
    const Fd source = disk->open(O_RDONLY | flags), fd = create("model", 12 * MiB);
    uint64_t done = 0;
    EXPECT_ERRNO(EIO, model_fill(fd, source, 0, 0, 0, &done));
    EXPECT_LE(done, 10 * MiB);
    EXPECT_OK(model_fill(fd, source, 0, 0, 6 * MiB));
    write_pattern(fd, 2 * MiB, 1, 6 * MiB);
    EXPECT_OK(model_fill(fd, source, 8 * MiB, 8 * MiB));
    EXPECT_OK(model_seal(fd));
    const Mapping map(fd, 12 * MiB);
    EXPECT_TRUE(all_zero(map.bytes().first(6 * MiB)));
    EXPECT_EQ(pattern_differs(map.bytes().subspan(6 * MiB, 2 * MiB), 6 * MiB, 1), std::nullopt);
    EXPECT_TRUE(all_zero(map.bytes().subspan(8 * MiB)));
    EXPECT_OK(model_remove("model"));
  }
}

// A disk that answers each read after `ms`.
struct SlowDisk {
  LoopDisk backing;
  MappedDisk disk;
  explicit SlowDisk(uint64_t bytes, int ms)
      : backing("slow", bytes), disk("llmos-slow", {{bytes, "delay", backing.number() + " 0 " + std::to_string(ms)}}) {}
};

#define SLOW_DISK(disk, ...)                        \
  std::unique_ptr<SlowDisk> disk;                   \
  try {                                             \
    disk = std::make_unique<SlowDisk>(__VA_ARGS__); \
  } catch (const std::system_error& error) {        \
    GTEST_SKIP() << error.what();                   \
  }

TEST_F(Fill, ProgressCanBeReadMeanwhile) {
  constexpr uint64_t bytes = 16 * MiB;
  SLOW_DISK(slow, bytes, 100);
  const Fd source = slow->disk.open(O_RDONLY | O_DIRECT), fd = create("model", bytes);
  std::atomic<bool> finished = false;
  std::thread filler([&] {
    auto args = sized<llmos_model_fill>();
    args.fd = source;
    args.depth = 1;
    EXPECT_OK(command(fd, LLMOS_MODEL_FILL, args));
    finished = true;
  });
  uint64_t last = 0, steps = 0;
  while (!finished) {
    const uint64_t filled = stat_of(fd).filled;
    EXPECT_GE(filled, last);
    EXPECT_LE(filled, bytes);
    steps += filled > last && filled < bytes;
    last = filled;
    usleep(10000);
  }
  filler.join();
  EXPECT_GE(steps, 4u);
  EXPECT_ERRNO(EBUSY, mmap(nullptr, page, PROT_READ, MAP_SHARED, fd, 0));
}

TEST_F(Fill, ManyRequestsAreInFlightAtOnce) {
  constexpr uint64_t bytes = 32 * MiB;  // 16 huge pages
  SLOW_DISK(slow, bytes, 500);
  const Fd source = slow->disk.open(O_RDONLY | O_DIRECT), fd = create("model", bytes);
  const auto from = std::chrono::steady_clock::now();
  EXPECT_OK(model_fill(fd, source));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - from;
  EXPECT_LT(took.count(), 16 * 0.5 / 3) << "the requests wait for each other";
  ASSERT_EQ(model_seal(fd), 0);
  EXPECT_EQ(pattern_differs_in(fd, bytes), std::nullopt);
}

TEST_F(Fill, SealWaitsForNoFillButRefuses) {
  SLOW_DISK(slow, 4 * MiB, 700);
  const Fd source = slow->disk.open(O_RDONLY | O_DIRECT), fd = create("model", 4 * MiB);
  std::thread filler([&] { EXPECT_OK(model_fill(fd, source)); });
  usleep(200000);
  EXPECT_ERRNO(EBUSY, model_seal(fd));
  filler.join();
  EXPECT_OK(model_seal(fd));
}

TEST_F(Fill, LoaderKilledWithDmaInFlightLeavesNothing) {
  SLOW_DISK(slow, 32 * MiB, 500);
  Child loader([&](Child::Parent& parent) {
    const Fd source = slow->disk.open(O_RDONLY | O_DIRECT), fd = create("model", 32 * MiB);
    parent.tell();
    for (;;) model_fill(fd, source);
  });
  loader.wait();
  usleep(250000);
  const auto from = std::chrono::steady_clock::now();
  loader.kill();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - from;
  EXPECT_LT(took.count(), 3.0) << "it waits for the requests in flight, and starts no more";
  EXPECT_EQ(memory_current(), 0u);
}

// ---- other people's memory ----

// tests/vm/boot turns that off. The kernel's log says it of every kernel, but may have lost its beginning.
bool pages_come_zeroed() {
  return shell("grep -qw init_on_alloc=0 /proc/cmdline || dmesg | grep 'mem auto-init' | grep -q 'heap alloc:off'")
      .status;
}

// Leaves a large part of free memory full of a byte that must not be seen again.
void dirty_free_memory() {
  in_child([] {
    const Mapping map(-1, meminfo("MemFree") / 10 * 7, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    madvise(map.data(), map.size(), MADV_HUGEPAGE);
    memset(map.data(), 0xa5, map.size());
  });
}

TEST_F(Fill, NobodyElsesBytesAreEverSeen) {
  if (pages_come_zeroed()) GTEST_SKIP() << "the kernel zeroes pages itself; boot it with init_on_alloc=0";
  constexpr uint64_t bytes = 128 * MiB + 100;
  const ScratchFile shorter("source", 20 * MiB + 1000);
  dirty_free_memory();

  const Fd fd = create("model", bytes);
  EXPECT_ERRNO(ENODATA, model_fill(fd, shorter.open(O_RDONLY | O_DIRECT), 0, 0));
  EXPECT_ERRNO(ENODATA, model_fill(fd, shorter.open(), 64 * MiB, 0));
  EXPECT_ERRNO(EIO, [&]() -> int {  // a block that never arrived
    try {
      const MappedDisk disk("llmos-bad", {{2 * MiB, "error", ""}});
      return model_fill(fd, disk.open(O_RDONLY | O_DIRECT), 100 * MiB, 0, 2 * MiB);
    } catch (const std::system_error&) {
      errno = EIO;
      return -1;
    }
  }());
  ASSERT_EQ(pwrite(fd, "x", 1, 50 * MiB + 7), 1);
  ASSERT_EQ(model_seal(fd), 0);
  const Mapping map(fd, bytes / page * page + page);
  // A run of them: the pattern has some by itself.
  const std::vector<std::byte> strange(64, std::byte{0xa5});
  for (uint64_t at = 0; at < map.size(); at += strange.size())
    ASSERT_NE(memcmp(map.data() + at, strange.data(), strange.size()), 0) << "a stranger's bytes at " << at;
  EXPECT_TRUE(all_zero(map.bytes().subspan(30 * MiB, 20 * MiB)));
  EXPECT_TRUE(all_zero(map.bytes().subspan(90 * MiB)));
}

TEST_F(Fill, NeverWrittenModelIsZero) {
  if (pages_come_zeroed()) GTEST_SKIP() << "the kernel zeroes pages itself; boot it with init_on_alloc=0";
  for (const uint32_t shift : {0u, 12u}) {
    dirty_free_memory();
    const Fd fd = create("model", 64 * MiB + 1, {.page_shift = shift});
    ASSERT_EQ(model_seal(fd), 0);
    const Mapping map(fd, 64 * MiB + page);
    EXPECT_TRUE(all_zero(map.bytes()));
    EXPECT_OK(model_remove("model"));
  }
}

}  // namespace
}  // namespace llmos::guest
