// SPDX-License-Identifier: MIT
// What is particular to the in-process store, and how a store is chosen.
#include <cstdlib>

#include "store_support.hpp"

namespace llmos::test {
namespace {

class MemoryStore : public testing::Test {
 protected:
  const TempDir dir_;
  Store store_ = Store::memory();
};

TEST_F(MemoryStore, is_one_for_the_whole_process) {
  const Model model = store_.load(dir_.write("shared", pattern(10)));
  EXPECT_EQ(Store::memory().open("shared").bytes().data(), model.bytes().data());
}

TEST_F(MemoryStore, ends_with_its_last_handle_and_model) {
  {
    const Model model = store_.load(dir_.write("kept", pattern(10)));
    { const Store moved_away = std::move(store_); }
    EXPECT_TRUE(equal(Store::memory().open("kept").bytes(), pattern(10)));
  }
  EXPECT_TRUE(Store::memory().list().empty());
}

TEST_F(MemoryStore, refuses_what_only_the_kernel_can_promise) {
  const std::string path = dir_.write("model", pattern(10));
  EXPECT_ERROR(ENOTSUP, "kernel's store", store_.load(path, {.uid = 0}));
  EXPECT_ERROR(ENOTSUP, "kernel's store", store_.load(path, {.gid = 0}));
  EXPECT_ERROR(ENOTSUP, "kernel's store", store_.load(path, {.mode = 0400}));
  EXPECT_ERROR(ENOTSUP, "kernel's store", store_.load(path, {.evictable = true}));
  EXPECT_ERROR(ENOTSUP, "kernel's store", store_.load(path, {.priority = 1}));
  EXPECT_ERROR(ENOTSUP, "kernel's store", store_.load(path, {.signature = Bytes(10)}));
  const Model model = store_.load(path);
  EXPECT_ERROR(ENOTSUP, "kernel's store", store_.evict("model"));
  EXPECT_ERROR(ENOTSUP, "kernel's store", store_.set("model", true));
  EXPECT_ERROR(ENOTSUP, "kernel's store", store_.grants("model"));
  EXPECT_ERROR(ENOTSUP, "kernel's store", store_.revoke("model", Subject::pid(1)));
  EXPECT_ERROR(ENOTSUP, "kernel's store", store_.allow("model", Subject::uid(0)));
  EXPECT_ERROR(ENOTSUP, "kernel's store", model.dmabuf());
}

TEST_F(MemoryStore, knows_a_digest_only_once_somebody_asked) {
  const Model model = store_.load(dir_.write("lazy", pattern(10)));
  EXPECT_EQ(model.stat().digest, Digest{});
  const Digest digest = model.digest();
  EXPECT_EQ(model.stat().digest, digest);
}

TEST_F(MemoryStore, uses_huge_pages_where_they_can_be_had) {
  const Model model = store_.load(dir_.write("huge", pattern(8 * kMiB)));
  const ModelInfo info = model.stat();
  if (!info.huge) GTEST_SKIP() << "this kernel gives no huge pages to shared memory";
  EXPECT_EQ(info.huge, 8 * kMiB);
}

class Environment : public testing::Test {
 protected:
  void TearDown() override { ::unsetenv("LLMOS_STORE"); }
};

TEST_F(Environment, chooses_the_store) {
  ::setenv("LLMOS_STORE", "memory", 1);
  EXPECT_EQ(Store().kind(), StoreKind::memory);
  ::setenv("LLMOS_STORE", "kernel", 1);
  EXPECT_EQ(error_of([] { Store(); }), error_of([] { Store::kernel(); }));
  ::setenv("LLMOS_STORE", "disk", 1);
  EXPECT_ERROR(EINVAL, "\"disk\"", Store());
}

TEST_F(Environment, does_not_override_an_explicit_choice) {
  ::setenv("LLMOS_STORE", "kernel", 1);
  EXPECT_EQ(Store::memory().kind(), StoreKind::memory);
}

TEST_F(Environment, left_alone_always_gives_a_store) { EXPECT_NO_THROW(Store()); }

TEST(KernelStore, without_the_module_says_so) {
  std::string message;
  const int error = error_of([] { Store::kernel(); }, &message);
  if (!error) GTEST_SKIP() << "the module is loaded";
  if (error == EACCES) GTEST_SKIP() << "the module is loaded, and this user may not use it";
  EXPECT_EQ(error, ENODEV);
  EXPECT_NE(message.find("modprobe llmos"), std::string::npos) << message;
}

}  // namespace
}  // namespace llmos::test
