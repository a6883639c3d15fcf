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

TEST_F(AModel, is_found_by_name_from_another_handle_of_the_store) {
  Store store = open();
  load(store, "test-found");
  EXPECT_TRUE(equal(open().open("test-found").bytes(), pattern(3 * kMiB)));
}

TEST_F(AModel, that_is_not_there_is_not_found) {
  EXPECT_ERROR(ENOENT, "\"test-absent\"", open().open("test-absent"));
  EXPECT_ERROR(ENOENT, "\"test-absent\"", open().stat("test-absent"));
  EXPECT_ERROR(ENOENT, "\"test-absent\"", open().remove("test-absent"));
  EXPECT_EQ(error_of([&] { open().open("../etc/passwd"); }), EINVAL);
}

TEST_F(AModel, outlives_its_name) {
  Store store = open();
  const Model model = load(store, "test-removed");
  store.remove("test-removed");
  EXPECT_EQ(error_of([&] { store.open("test-removed"); }), ENOENT);
  EXPECT_TRUE(equal(model.bytes(), pattern(3 * kMiB)));
  EXPECT_TRUE(model.alive());
}

TEST_F(AModel, tells_its_state) {
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

TEST_F(AModel, is_idle_when_nobody_has_it_open) {
  Store store = open();
  load(store, "test-idle");
  ::usleep(1000);
  const ModelInfo info = store.stat("test-idle");
  EXPECT_EQ(info.grants, 0u);
  EXPECT_GE(info.idle_ns, 1'000'000u);
}

TEST_F(AModel, has_its_digest_in_its_state_once_it_is_known) {
  Store store = open();
  const Model model = load(store, "test-digest");
  const Digest digest = model.digest();
  EXPECT_EQ(digest, reference_digest(pattern(3 * kMiB)));
  EXPECT_EQ(store.stat("test-digest").digest, digest);
}

TEST_F(AModel, is_listed_in_the_order_of_names) {
  Store store = open();
  for (const char* name : {"test-b", "test-c", "test-a"}) load(store, name, 10);
  std::vector<std::string> names;
  for (const ModelInfo& info : store.list()) names.push_back(info.name);
  EXPECT_EQ(names, (std::vector<std::string>{"test-a", "test-b", "test-c"}));
}

TEST_F(AModel, can_be_moved) {
  Store store = open();
  Model first = load(store, "test-moved");
  Model second = std::move(first);
  EXPECT_EQ(second.name(), "test-moved");
  EXPECT_EQ(store.stat("test-moved").grants, 1u);
}

TEST_F(AModel, cannot_be_changed_through_its_descriptor) {
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

TEST_F(AModel, is_mapped_so_that_it_can_have_huge_pages) {
  Store store = open();
  const Model model = load(store, "test-aligned", 5 * kMiB);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(model.bytes().data()) % (2 * kMiB), 0u);
}

TEST_F(AModel, is_verified_against_a_file_and_against_its_memory) {
  Store store = open();
  const std::string path = dir_.write("test-verified", pattern(3 * kMiB));
  const Digest digest = store.load(path).digest();
  EXPECT_EQ(store.verify("test-verified"), digest);
  EXPECT_EQ(store.verify("test-verified", path), digest);
  EXPECT_ERROR(EBADMSG, "differ", store.verify("test-verified", dir_.write("other", pattern(3 * kMiB, 1))));
  EXPECT_ERROR(ENOENT, "nowhere", store.verify("test-verified", dir_ / "nowhere"));
}

TEST_F(AModel, counts_in_the_store) {
  Store store = open();
  const StoreInfo before = store.info();
  const Model model = load(store, "test-counted", 4 * kMiB);
  const StoreInfo after = store.info();
  EXPECT_EQ(after.models, before.models + 1);
  EXPECT_EQ(after.memory_current, before.memory_current + 4 * kMiB);
  EXPECT_GE(after.memory_max, after.memory_current);
  EXPECT_TRUE(after.features & LLMOS_FEATURE_MODELS);
  EXPECT_EQ(store.kind(), kStore);
}

}  // namespace
}  // namespace llmos::test
