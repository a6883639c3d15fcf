// SPDX-License-Identifier: MIT
// The seal: the digest that fs-verity gives the same bytes, and the states on the way.
#include <fcntl.h>
#include <linux/fsverity.h>
#include <linux/stat.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <thread>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

using Seal = ModuleTest;

// struct fsverity_digest with room for the digest itself.
struct Digest {
  uint16_t algorithm = 0, size = LLMOS_DIGEST_SIZE;
  uint8_t bytes[LLMOS_DIGEST_SIZE] = {};
};

std::string hex(const uint8_t* digest) {
  std::string text;
  char byte[3];
  for (int i = 0; i < LLMOS_DIGEST_SIZE; i++) snprintf(byte, sizeof(byte), "%02x", digest[i]), text += byte;
  return text;
}

int measure(int fd, Digest& digest) { return ioctl(fd, FS_IOC_MEASURE_VERITY, &digest); }

std::string measured(int fd) {
  Digest digest;
  if (measure(fd, digest)) throw_errno("FS_IOC_MEASURE_VERITY");
  EXPECT_EQ(digest.algorithm, FS_VERITY_HASH_ALG_SHA256);
  EXPECT_EQ(digest.size, LLMOS_DIGEST_SIZE);
  return hex(digest.bytes);
}

// What ext4 says of a file of the same bytes.
std::string ext4_digest(const ScratchFile& file) {
  const Fd fd = file.open();
  fsverity_enable_arg arg = {};
  arg.version = 1;
  arg.hash_algorithm = FS_VERITY_HASH_ALG_SHA256;
  arg.block_size = 4096;
  if (ioctl(fd, FS_IOC_ENABLE_VERITY, &arg)) throw_errno("FS_IOC_ENABLE_VERITY");
  return measured(fd);
}

class SealDigest : public ModuleTest, public testing::WithParamInterface<uint64_t> {};

TEST_P(SealDigest, EqualsThatOfFsverityAndExt4) {
  const uint64_t bytes = GetParam();
  const ScratchFile file("digest", bytes);
  const Fd fd = create("model", bytes);
  write_pattern(fd, bytes);
  auto args = sized<llmos_model_seal>();
  ASSERT_EQ(command(fd, LLMOS_MODEL_SEAL, args), 0);

  const std::string wanted = must_shell("fsverity digest --compact " + file.path());
  EXPECT_EQ(hex(args.digest), wanted);
  EXPECT_EQ(measured(open_model("model")), wanted);
  EXPECT_EQ(hex(stat_of("model").digest), wanted);
  EXPECT_EQ(stat_of("model").hashed, bytes);
  EXPECT_EQ(ext4_digest(file), wanted);
}

INSTANTIATE_TEST_SUITE_P(Sizes, SealDigest,
                         testing::Values(1, 4095, 4096, 4097, 512 * KiB, 512 * KiB + 1, 2 * MiB - 1, 2 * MiB,
                                         2 * MiB + 1, 64 * MiB + 12289));

TEST_F(Seal, DigestDependsOnEveryByte) {
  std::set<std::string> digests;
  for (const uint64_t changed : {uint64_t{0}, uint64_t{4096}, 2 * MiB - 1, 2 * MiB, 4 * MiB + 99}) {
    const Fd fd = create("model", 4 * MiB + 100);
    write_pattern(fd, 4 * MiB + 100);
    ASSERT_EQ(pwrite(fd, "\xff", 1, static_cast<off_t>(changed)), 1);
    ASSERT_EQ(model_seal(fd), 0);
    digests.insert(measured(fd));
    EXPECT_OK(model_remove("model"));
  }
  EXPECT_EQ(digests.size(), 5u);
}

TEST_F(Seal, BytesNeverWrittenAreZero) {
  const uint64_t bytes = 3 * huge_page + 100;
  const Fd fd = create("model", bytes);
  ASSERT_EQ(pwrite(fd, "x", 1, huge_page + 5), 1);
  ASSERT_EQ(model_seal(fd), 0);
  const Mapping map(fd, bytes);
  EXPECT_EQ(map.data()[huge_page + 5], std::byte{'x'});
  EXPECT_TRUE(all_zero(map.bytes().first(huge_page + 5)));
  EXPECT_TRUE(all_zero(map.bytes().subspan(huge_page + 6)));
}

TEST_F(Seal, DigestIsAnExtendedAttributeThatReadersMayRead) {
  make_model("model", 5000);
  const std::string path = path_of("model"), wanted = "sha256:" + hex(stat_of("model").digest);
  char text[200] = {};
  EXPECT_EQ(getxattr(path.c_str(), LLMOS_DIGEST_XATTR, nullptr, 0), static_cast<ssize_t>(wanted.size()));
  EXPECT_EQ(getxattr(path.c_str(), LLMOS_DIGEST_XATTR, text, sizeof(text)), static_cast<ssize_t>(wanted.size()));
  EXPECT_EQ(text, wanted);
  EXPECT_ERRNO(ERANGE, getxattr(path.c_str(), LLMOS_DIGEST_XATTR, text, 10));
  EXPECT_ERRNO(EOPNOTSUPP, getxattr(path.c_str(), "user.other", text, sizeof(text)));
  EXPECT_EQ(listxattr(path.c_str(), text, sizeof(text)), static_cast<ssize_t>(sizeof(LLMOS_DIGEST_XATTR)));
  EXPECT_STREQ(text, LLMOS_DIGEST_XATTR);
  EXPECT_ERRNO_AS(bob, 0, getxattr(path.c_str(), LLMOS_DIGEST_XATTR, text, sizeof(text)));

  make_model("secret", 5000, {.mode = 0400});
  EXPECT_ERRNO_AS(bob, EACCES, getxattr(path_of("secret").c_str(), LLMOS_DIGEST_XATTR, text, sizeof(text)));
}

TEST_F(Seal, MeasureAnswersErrorsAsExt4Does) {
  const Fd fd = create("model", page);
  Digest digest;
  EXPECT_ERRNO(ENODATA, measure(fd, digest));
  ASSERT_EQ(model_seal(fd), 0);
  digest.size = LLMOS_DIGEST_SIZE - 1;
  EXPECT_ERRNO(EOVERFLOW, measure(fd, digest));
  EXPECT_ERRNO(EFAULT, ioctl(fd, FS_IOC_MEASURE_VERITY, nullptr));
  digest.size = 64;
  EXPECT_OK(measure(fd, digest));
  EXPECT_EQ(digest.size, LLMOS_DIGEST_SIZE);
}

TEST_F(Seal, MeasureDoesNotHashAgain) {
  const Fd fd = make_model("model", 64 * MiB);
  const auto seconds = [](auto action) {
    timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    action();
    clock_gettime(CLOCK_MONOTONIC, &to);
    return static_cast<double>(to.tv_sec - from.tv_sec) + static_cast<double>(to.tv_nsec - from.tv_nsec) / 1e9;
  };
  const double once = seconds([] { make_model("other", 64 * MiB); });
  const double hundred = seconds([&] {
    for (int i = 0; i < 100; i++) measured(fd);
  });
  EXPECT_LT(hundred, once);
}

TEST_F(Seal, OnlyOnceAndOnlyByTheLoader) {
  const Fd fd = make_model("model", page);
  EXPECT_ERRNO(EPERM, model_seal(fd));
  EXPECT_ERRNO(EBADF, model_seal(open_model("model")));
}

TEST_F(Seal, StatesFollowEachOther) {
  const Fd fd = create("model", 5000, {.mode = 0440, .flags = LLMOS_MODEL_EVICTABLE, .priority = -3});
  auto stat = stat_of(fd);
  EXPECT_EQ(stat.state, static_cast<uint32_t>(LLMOS_STATE_FILLING));
  EXPECT_STREQ(stat.name, "model");
  EXPECT_EQ(stat.bytes, 5000u);
  EXPECT_EQ(stat.filled, 0u);
  EXPECT_EQ(stat.hashed, 0u);
  EXPECT_EQ(stat.resident, 2 * page);
  EXPECT_EQ(stat.priority, -3);
  EXPECT_EQ(stat.flags, uint32_t{LLMOS_MODEL_EVICTABLE});
  EXPECT_EQ(stat.grants, 1u);
  EXPECT_TRUE(std::ranges::all_of(stat.digest, [](uint8_t byte) { return byte == 0; }));
  write_pattern(fd, 3000);
  EXPECT_EQ(stat_of(fd).filled, 3000u);
  ASSERT_EQ(model_seal(fd), 0);
  stat = stat_of(fd);
  EXPECT_EQ(stat.state, static_cast<uint32_t>(LLMOS_STATE_SEALED));
  EXPECT_EQ(stat.hashed, 5000u);
}

TEST_F(Seal, StatxSaysVerityAndImmutable) {
  make_model("model", page);
  struct statx stat;
  ASSERT_EQ(statx(AT_FDCWD, path_of("model").c_str(), 0, STATX_ALL | STATX_DIOALIGN, &stat), 0);
  EXPECT_TRUE(stat.stx_attributes & STATX_ATTR_VERITY);
  EXPECT_TRUE(stat.stx_attributes & STATX_ATTR_IMMUTABLE);
  EXPECT_EQ(stat.stx_blksize, huge_page);
}

// A model large enough that its seal can be watched.
constexpr uint64_t slow_bytes = 256 * MiB;

bool sealing(int fd) { return stat_of(fd).state == LLMOS_STATE_SEALING; }

TEST_F(Seal, WritesAndASecondSealDuringTheSealAreRefused) {
  const Fd fd = create("model", slow_bytes);
  std::thread sealer([&] { EXPECT_OK(model_seal(fd)); });
  ASSERT_TRUE(eventually([&] { return sealing(fd) || stat_of(fd).state == LLMOS_STATE_SEALED; }));
  const int write_error = errno_of([&] { return pwrite(fd, "x", 1, 0); });
  const int fill_error = errno_of([&] { return model_fill(fd, 0); });
  const int seal_error = errno_of([&] { return model_seal(fd); });
  const int map_error = errno_of([&] { return mmap(nullptr, page, PROT_READ, MAP_SHARED, fd, 0); });
  const bool during = sealing(fd);
  sealer.join();
  if (!during) GTEST_SKIP() << "the seal was over before it could be disturbed";
  EXPECT_EQ(error_name(write_error), "EBUSY");
  EXPECT_EQ(error_name(fill_error), "EBUSY");
  EXPECT_EQ(error_name(seal_error), "EBUSY");
  EXPECT_EQ(error_name(map_error), "EBUSY");
}

TEST_F(Seal, ProgressCanBeReadMeanwhile) {
  const Fd fd = create("model", slow_bytes);
  std::thread sealer([&] { EXPECT_OK(model_seal(fd)); });
  uint64_t last = 0, steps = 0;
  while (stat_of(fd).state != LLMOS_STATE_SEALED) {
    const uint64_t hashed = stat_of(fd).hashed;
    EXPECT_GE(hashed, last);
    EXPECT_LE(hashed, slow_bytes);
    steps += hashed != last && hashed < slow_bytes;
    last = hashed;
    usleep(1000);
  }
  sealer.join();
  EXPECT_GT(steps, 3u);
}

TEST_F(Seal, LoaderKilledDuringTheSealDiesAtOnceAndLeavesNothing) {
  Child loader([](Child::Parent& parent) {
    const Fd fd = create("model", slow_bytes);
    std::thread([&] {
      while (!sealing(fd) || stat_of(fd).hashed < 4 * MiB) usleep(500);
      parent.tell();
    }).detach();
    model_seal(fd);
    parent.wait();
  });
  loader.wait();
  EXPECT_TRUE(list_models().empty()) << "the seal was over too early for this test";
  loader.kill();
  EXPECT_EQ(memory_current(), 0u);
  EXPECT_TRUE(list_models().empty());
}

}  // namespace
}  // namespace llmos::guest
