// SPDX-License-Identifier: MIT
// Opening, looking at and removing models, in every store.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "store_support.hpp"

namespace llmos::test {
namespace {

class AModel : public EveryStore {
 protected:
  Model load(Store& store, const std::string& name, size_t size = 3 * kMiB) {
    return store.load(dir_.write(name, pattern(size)));
  }
};
FOR_EVERY_STORE(AModel);

TEST_P(AModel, is_found_by_name_from_another_handle_of_the_store) {
  Store store = open();
  load(store, "test-found");
  EXPECT_TRUE(equal(open().open("test-found").bytes(), pattern(3 * kMiB)));
}

TEST_P(AModel, that_is_not_there_is_not_found) {
  EXPECT_ERROR(ENOENT, "\"test-absent\"", open().open("test-absent"));
  EXPECT_ERROR(ENOENT, "\"test-absent\"", open().stat("test-absent"));
  EXPECT_ERROR(ENOENT, "\"test-absent\"", open().remove("test-absent"));
  EXPECT_EQ(error_of([&] { open().open("../etc/passwd"); }), EINVAL);
}

TEST_P(AModel, outlives_its_name) {
  Store store = open();
  const Model model = load(store, "test-removed");
  store.remove("test-removed");
  EXPECT_EQ(error_of([&] { store.open("test-removed"); }), ENOENT);
  EXPECT_TRUE(equal(model.bytes(), pattern(3 * kMiB)));
  EXPECT_TRUE(model.alive());
}

TEST_P(AModel, tells_its_state) {
  Store store = open();
  const Model model = load(store, "test-stat", 5 * kMiB + 1);
  for (const ModelInfo& info : {model.stat(), store.stat("test-stat"), store.list().at(0)}) {
    EXPECT_EQ(info.name, "test-stat");
    EXPECT_EQ(info.state, State::sealed);
    EXPECT_EQ(info.bytes, 5 * kMiB + 1);
    EXPECT_EQ(info.filled, info.bytes);
    EXPECT_GE(info.resident, info.bytes);
    EXPECT_EQ(info.grants, 1u);
    EXPECT_EQ(info.idle_ns, 0u);
    EXPECT_EQ(info.uid, ::geteuid());
    EXPECT_FALSE(info.is_signed);
  }
}

TEST_P(AModel, is_idle_when_nobody_has_it_open) {
  Store store = open();
  load(store, "test-idle");
  ::usleep(1000);
  const ModelInfo info = store.stat("test-idle");
  EXPECT_EQ(info.grants, 0u);
  EXPECT_GE(info.idle_ns, 1'000'000u);
}

TEST_P(AModel, has_its_digest_in_its_state_once_it_is_known) {
  Store store = open();
  const Model model = load(store, "test-digest");
  const Digest digest = model.digest();
  EXPECT_EQ(digest, reference_digest(pattern(3 * kMiB)));
  EXPECT_EQ(store.stat("test-digest").digest, digest);
}

TEST_P(AModel, is_listed_in_the_order_of_names) {
  Store store = open();
  for (const char* name : {"test-b", "test-c", "test-a"}) load(store, name, 10);
  std::vector<std::string> names;
  for (const ModelInfo& info : store.list()) names.push_back(info.name);
  EXPECT_EQ(names, (std::vector<std::string>{"test-a", "test-b", "test-c"}));
}

TEST_P(AModel, can_be_moved) {
  Store store = open();
  Model first = load(store, "test-moved");
  Model second = std::move(first);
  EXPECT_EQ(second.name(), "test-moved");
  EXPECT_EQ(store.stat("test-moved").grants, 1u);
}

TEST_P(AModel, cannot_be_changed_through_its_descriptor) {
  Store store = open();
  const Model model = load(store, "test-immutable");
  EXPECT_NE(::pwrite(model.fd(), "x", 1, 0), 1);
  EXPECT_NE(::ftruncate(model.fd(), 0), 0);
  EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, model.fd(), 0), MAP_FAILED);
  EXPECT_NE(::mprotect(const_cast<std::byte*>(model.bytes().data()), 4096, PROT_READ | PROT_WRITE), 0);
  const std::string path = "/proc/self/fd/" + std::to_string(model.fd());
  if (const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC); fd >= 0) {
    EXPECT_NE(::pwrite(fd, "x", 1, 0), 1);
    EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    ::close(fd);
  }
  EXPECT_TRUE(equal(model.bytes(), pattern(3 * kMiB)));
}

TEST_P(AModel, is_mapped_so_that_it_can_have_huge_pages) {
  Store store = open();
  const Model model = load(store, "test-aligned", 5 * kMiB);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(model.bytes().data()) % (2 * kMiB), 0u);
}

TEST_P(AModel, is_verified_against_a_file_and_against_its_memory) {
  Store store = open();
  const std::string path = dir_.write("test-verified", pattern(3 * kMiB));
  const Digest digest = store.load(path).digest();
  EXPECT_EQ(store.verify("test-verified"), digest);
  EXPECT_EQ(store.verify("test-verified", path), digest);
  EXPECT_ERROR(EBADMSG, "differ", store.verify("test-verified", dir_.write("other", pattern(3 * kMiB, 1))));
  EXPECT_ERROR(ENOENT, "nowhere", store.verify("test-verified", dir_ / "nowhere"));
}

TEST_P(AModel, counts_in_the_store) {
  Store store = open();
  const StoreInfo before = store.info();
  const Model model = load(store, "test-counted", 4 * kMiB);
  const StoreInfo after = store.info();
  EXPECT_EQ(after.models, before.models + 1);
  EXPECT_EQ(after.memory_current, before.memory_current + 4 * kMiB);
  EXPECT_GE(after.memory_max, after.memory_current);
  EXPECT_TRUE(after.features & LLMOS_FEATURE_MODELS);
  EXPECT_EQ(store.kind(), GetParam());
}

// ---- what only the kernel can do ----

class KernelModel : public AModel {
  void SetUp() override {
    if (!in_kernel()) GTEST_SKIP() << "only the kernel can";
    AModel::SetUp();
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, KernelModel, testing::Values(StoreKind::kernel), store_name);

TEST_P(KernelModel, lists_who_has_it_open) {
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

TEST_P(KernelModel, lists_more_grants_than_one_call_brings) {
  Store store = open();
  std::vector<Model> models;
  models.push_back(load(store, "test-many"));
  while (models.size() < 700) models.push_back(store.open("test-many"));
  EXPECT_EQ(store.grants("test-many").size(), 700u);
}

TEST_P(KernelModel, that_was_revoked_is_not_alive) {
  Store store = open();
  const Model model = load(store, "test-revoked");
  EXPECT_EQ(store.revoke("test-revoked", Subject::pid(::getpid())).grants, 1u);
  EXPECT_FALSE(model.alive());
  EXPECT_EQ(error_of([&] { model.bytes(); }), ESTALE);
  EXPECT_ERROR(EACCES, "revoked", store.open("test-revoked"));
  store.allow("test-revoked", Subject::pid(::getpid()));
  EXPECT_TRUE(store.open("test-revoked").alive());
}

TEST_P(KernelModel, that_was_revoked_softly_can_be_opened_again) {
  Store store = open();
  const Model model = load(store, "test-soft");
  store.revoke("test-soft", Subject::uid(::geteuid()), true);
  EXPECT_FALSE(model.alive());
  EXPECT_TRUE(store.open("test-soft").alive());
}

TEST_P(KernelModel, can_be_revoked_from_a_cgroup) {
  Store store = open();
  const Model model = load(store, "test-cgroup");
  EXPECT_EQ(store.revoke("test-cgroup", Subject::cgroup("/sys/fs/cgroup"), true).grants, 1u);
  EXPECT_FALSE(model.alive());
  EXPECT_ERROR(ENOENT, "cgroup", Subject::cgroup("/sys/fs/cgroup/nowhere"));
}

TEST_P(KernelModel, is_evicted_and_loaded_again) {
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

TEST_P(KernelModel, has_the_owner_and_mode_it_was_given) {
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

TEST_P(KernelModel, has_the_read_bits_of_its_file) {
  Store store = open();
  const std::string path = dir_.write("test-bits", pattern(10));
  std::filesystem::permissions(path, std::filesystem::perms::owner_all | std::filesystem::perms::group_read);
  EXPECT_EQ(store.load(path).stat().mode & 0777, 0440u);
}

}  // namespace
}  // namespace llmos::test
