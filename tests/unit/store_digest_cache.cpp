// SPDX-License-Identifier: MIT
#include <sys/stat.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>

#include "store/digest_cache.hpp"
#include "store_support.hpp"

namespace llmos::test {
namespace {

using core::FileIdentity;

class DigestCache : public testing::Test {
 protected:
  void SetUp() override {
    const char* before = std::getenv("XDG_CACHE_HOME");
    before_ = before ? before : "";
    ::setenv("XDG_CACHE_HOME", dir_.path().c_str(), 1);
  }
  void TearDown() override {
    before_.empty() ? ::unsetenv("XDG_CACHE_HOME") : ::setenv("XDG_CACHE_HOME", before_.c_str(), 1);
  }

  static struct stat status(int64_t age_seconds) {
    struct stat status {};
    status.st_mode = S_IFREG | 0644;
    status.st_size = 100;
    status.st_dev = 5;
    status.st_ino = 77;
    ::clock_gettime(CLOCK_REALTIME, &status.st_ctim);
    status.st_ctim.tv_sec -= age_seconds;
    status.st_mtim = status.st_ctim;
    return status;
  }

  const TempDir dir_;
  std::string before_;
  const core::Digest digest_ = core::digest_bytes(pattern(10));
};

TEST_F(DigestCache, remembers) {
  const FileIdentity file{1, 2, 3, 4, 5};
  EXPECT_EQ(core::remembered_digest(file), std::nullopt);
  core::remember_digest(file, digest_);
  EXPECT_EQ(core::remembered_digest(file), digest_);
}

TEST_F(DigestCache, forgets_a_file_that_changed_in_any_way) {
  const FileIdentity file{1, 2, 3, 4, 5};
  core::remember_digest(file, digest_);
  for (const FileIdentity& other :
       {FileIdentity{9, 2, 3, 4, 5}, FileIdentity{1, 9, 3, 4, 5}, FileIdentity{1, 2, 9, 4, 5},
        FileIdentity{1, 2, 3, 9, 5}, FileIdentity{1, 2, 3, 4, 9}})
    EXPECT_EQ(core::remembered_digest(other), std::nullopt);
}

TEST_F(DigestCache, does_not_know_a_file_that_changed_just_now) {
  EXPECT_EQ(core::identity_of(status(0)), std::nullopt);
  EXPECT_EQ(core::identity_of(status(1)), std::nullopt);
  EXPECT_NE(core::identity_of(status(3)), std::nullopt);
}

TEST_F(DigestCache, is_for_regular_files) {
  struct stat device = status(100);
  device.st_mode = S_IFBLK | 0644;
  EXPECT_EQ(core::identity_of(device), std::nullopt);
}

TEST_F(DigestCache, does_not_believe_a_directory_that_others_can_write_to) {
  const FileIdentity file{1, 2, 3, 4, 5};
  core::remember_digest(file, digest_);
  std::filesystem::permissions(dir_ / "llmos/digests", std::filesystem::perms::all);
  EXPECT_EQ(core::remembered_digest(file), std::nullopt);
}

TEST_F(DigestCache, does_not_believe_damaged_entries) {
  const FileIdentity file{1, 2, 3, 4, 5};
  core::remember_digest(file, digest_);
  for (const auto& entry : std::filesystem::directory_iterator(dir_ / "llmos/digests"))
    std::filesystem::resize_file(entry.path(), std::filesystem::file_size(entry.path()) - 3);
  EXPECT_EQ(core::remembered_digest(file), std::nullopt);
}

TEST_F(DigestCache, does_without_a_place) {
  ::setenv("XDG_CACHE_HOME", "/proc/nowhere", 1);
  const FileIdentity file{1, 2, 3, 4, 5};
  EXPECT_NO_THROW(core::remember_digest(file, digest_));
  EXPECT_EQ(core::remembered_digest(file), std::nullopt);
}

// A load of a model that is there reads the file once to see that it is the same, and not again.
TEST_F(DigestCache, saves_the_second_look_at_a_file) {
  const std::string path = dir_.write("model", pattern(3 * kMiB));
  timespec nap{2, 200'000'000};
  ::nanosleep(&nap, nullptr);
  Store store = Store::memory();
  const Model model = store.create({.name = "model", .bytes = 3 * kMiB}).seal();
  store.remove("model");
  Writer writer = store.create({.name = "model", .bytes = 3 * kMiB});
  writer.write(0, pattern(3 * kMiB));
  const Model other = writer.seal();
  auto looked = [&] {
    bool looked = false;
    store.load(path, {.name = "model", .progress = [&](const Progress&) { return looked = true; }});
    return looked;
  };
  EXPECT_TRUE(looked());
  EXPECT_FALSE(looked());
}

TEST_F(DigestCache, is_not_needed_where_the_process_loaded_the_file_itself) {
  const std::string path = dir_.write("model", pattern(3 * kMiB));
  timespec nap{2, 200'000'000};
  ::nanosleep(&nap, nullptr);
  Store store = Store::memory();
  const Model model = store.load(path);
  bool looked = false;
  store.load(path, {.progress = [&](const Progress&) { return looked = true; }});
  EXPECT_FALSE(looked);
  EXPECT_EQ(model.stat().digest, Digest{}) << "nobody asked for the digest";
}

}  // namespace
}  // namespace llmos::test
