// SPDX-License-Identifier: MIT
// What only the kernel's store can do, through the library. Runs in a machine with the module, as root.
#include <grp.h>
#include <unistd.h>

#include "store_support.hpp"

namespace llmos::test {
namespace {

class KernelModel : public EveryStore {
 protected:
  Model load(Store& store, const std::string& name, size_t size = 3 * kMiB) {
    return store.load(dir_.write(name, pattern(size)));
  }
};

TEST_F(KernelModel, lists_who_has_it_open) {
  Store store = open();
  const Model model = load(store, "test-grants");
  const auto mapped = model.bytes();
  const std::vector<Grant> grants = store.grants("test-grants");
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_EQ(grants[0].pid, ::getpid());
  EXPECT_EQ(grants[0].uid, ::geteuid());
  EXPECT_EQ(grants[0].mapped, mapped.size());
  EXPECT_FALSE(grants[0].revoked);
}

TEST_F(KernelModel, lists_more_grants_than_one_call_brings) {
  Store store = open();
  std::vector<Model> models;
  models.push_back(load(store, "test-many"));
  while (models.size() < 700) models.push_back(store.open("test-many"));
  EXPECT_EQ(store.grants("test-many").size(), 700u);
}

TEST_F(KernelModel, that_was_revoked_is_not_alive) {
  Store store = open();
  const Model model = load(store, "test-revoked");
  EXPECT_EQ(store.revoke("test-revoked", Subject::pid(::getpid())).grants, 1u);
  EXPECT_FALSE(model.alive());
  EXPECT_EQ(error_of([&] { model.bytes(); }), ESTALE);
  EXPECT_ERROR(EACCES, "revoked", store.open("test-revoked"));
  store.allow("test-revoked", Subject::pid(::getpid()));
  EXPECT_TRUE(store.open("test-revoked").alive());
}

TEST_F(KernelModel, that_was_revoked_softly_can_be_opened_again) {
  Store store = open();
  const Model model = load(store, "test-soft");
  store.revoke("test-soft", Subject::uid(::geteuid()), true);
  EXPECT_FALSE(model.alive());
  EXPECT_TRUE(store.open("test-soft").alive());
}

TEST_F(KernelModel, can_be_revoked_from_a_cgroup) {
  Store store = open();
  const Model model = load(store, "test-cgroup");
  EXPECT_EQ(store.revoke("test-cgroup", Subject::cgroup("/sys/fs/cgroup"), true).grants, 1u);
  EXPECT_FALSE(model.alive());
  EXPECT_ERROR(ENOENT, "cgroup", Subject::cgroup("/sys/fs/cgroup/nowhere"));
}

TEST_F(KernelModel, is_evicted_and_loaded_again) {
  Store store = open();
  const std::string path = dir_.write("test-evicted", pattern(3 * kMiB));
  {
    const Model model = store.load(path);
    EXPECT_ERROR(EBUSY, "in use", store.evict("test-evicted"));
  }
  store.evict("test-evicted");
  EXPECT_EQ(store.stat("test-evicted").state, State::evicted);
  EXPECT_ERROR(ESTALE, "evicted", store.open("test-evicted"));
  EXPECT_ERROR(EEXIST, "differs", store.load(dir_.write("other", pattern(3 * kMiB, 1)), {.name = "test-evicted"}));
  EXPECT_TRUE(equal(store.load(path).bytes(), pattern(3 * kMiB)));
  EXPECT_EQ(store.stat("test-evicted").state, State::sealed);
}

TEST_F(KernelModel, has_the_owner_and_mode_it_was_given) {
  Store store = open();
  const std::string path = dir_.write("test-owner", pattern(10));
  store.load(path, {.mode = 0640, .evictable = true, .priority = 7});
  const ModelInfo info = store.stat("test-owner");
  EXPECT_EQ(info.mode & 0777, 0440u);
  EXPECT_TRUE(info.evictable);
  EXPECT_EQ(info.priority, 7);
  store.set("test-owner", false, -3);
  EXPECT_FALSE(store.stat("test-owner").evictable);
  EXPECT_EQ(store.stat("test-owner").priority, -3);
}

TEST_F(KernelModel, has_the_read_bits_of_its_file) {
  Store store = open();
  const std::string path = dir_.write("test-bits", pattern(10));
  std::filesystem::permissions(path, std::filesystem::perms::owner_all | std::filesystem::perms::group_read);
  EXPECT_EQ(store.load(path).stat().mode & 0777, 0440u);
}

// ---- a user who may not use /dev/llmos ----

constexpr uid_t kBob = 1001;  // in no group that may

// Runs `body` in a child process as that user; the test passes when it returns true.
#define EXPECT_AS_BOB(...)                                                           \
  EXPECT_EXIT(                                                                       \
      {                                                                              \
        if (::setgroups(0, nullptr) || ::setgid(kBob) || ::setuid(kBob)) ::_exit(2); \
        ::_exit([&] { __VA_ARGS__ }() ? 0 : 1);                                      \
      },                                                                             \
      testing::ExitedWithCode(0), "")

class Reader : public KernelModel {
 protected:
  void SetUp() override {
    KernelModel::SetUp();
    testing::FLAGS_gtest_death_test_style = "fast";
    std::filesystem::permissions(dir_.path(), std::filesystem::perms(0755));
    loaded_ = dir_.write("test-public", pattern(3 * kMiB));
    other_ = dir_.write("test-other", pattern(kMiB, 1));
    Store store = open();
    store.load(loaded_);
    store.load(dir_.write("test-private", pattern(10)), {.mode = 0400});
  }

  std::string loaded_, other_;
};

TEST_F(Reader, opens_models_of_the_kernel_by_name) {
  EXPECT_AS_BOB(return equal(Store::kernel().open("test-public").bytes(), pattern(3 * kMiB)););
  EXPECT_AS_BOB(return equal(Store().open("test-public").bytes(), pattern(3 * kMiB)););
}

TEST_F(Reader, sees_what_there_is) {
  EXPECT_AS_BOB({
    const std::vector<ModelInfo> models = Store::kernel().list();
    return models.size() == 2 && models[1].name == "test-public" && models[1].bytes == 3 * kMiB &&
           models[1].state == State::sealed && models[1].digest == reference_digest(pattern(3 * kMiB)) &&
           models[0].digest == Digest{};
  };);
}

TEST_F(Reader, may_not_open_what_its_mode_forbids) {
  EXPECT_AS_BOB(return error_of([] { Store::kernel().open("test-private"); }) == EACCES;);
}

TEST_F(Reader, may_not_load_into_the_kernel_or_manage_it) {
  EXPECT_AS_BOB({
    Store store = Store::kernel();
    return error_of([&] { store.load(other_); }) == EACCES &&
           error_of([&] { store.remove("test-public"); }) == EACCES &&
           error_of([&] { store.evict("test-public"); }) == EACCES &&
           error_of([&] { store.grants("test-public"); }) == EACCES &&
           error_of([&] { store.revoke("test-public", Subject::uid(0)); }) == EACCES;
  };);
}

TEST_F(Reader, that_loads_what_is_in_the_kernel_gets_that) {
  EXPECT_AS_BOB({
    Store store;
    const Model model = store.load(loaded_);
    struct stat file {};
    struct stat kernel {};
    return ::fstat(model.fd(), &file) == 0 && ::stat("/sys/fs/llmos/models/test-public", &kernel) == 0 &&
           file.st_ino == kernel.st_ino;
  };);
}

TEST_F(Reader, that_loads_something_else_has_it_in_its_process) {
  EXPECT_AS_BOB({
    Store store;
    const Model model = store.load(other_);
    return store.kind() == StoreKind::memory && equal(model.bytes(), pattern(kMiB, 1)) && store.list().size() == 3 &&
           equal(store.open("test-other").bytes(), pattern(kMiB, 1)) && store.stat("test-other").bytes == kMiB &&
           (store.remove("test-other"), store.list().size() == 2);
  };);
}

TEST_F(Reader, cannot_hide_a_model_of_the_kernel) {
  EXPECT_AS_BOB({
    Store store;
    return error_of([&] { store.load(other_, {.name = "test-public"}); }) == EEXIST &&
           error_of([&] { store.load(other_, {.name = "test-public", .replace = true}); }) == EEXIST;
  };);
}

TEST_F(Reader, is_told_that_a_model_was_evicted) {
  open().evict("test-public");
  EXPECT_AS_BOB(return error_of([] { Store().open("test-public"); }) == ESTALE;);
}

}  // namespace
}  // namespace llmos::test
