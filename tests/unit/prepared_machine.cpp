// SPDX-License-Identifier: MIT
// The prepared index in the kernel's store: made by who loads a model, sealed, used by every process, never believed
// when it is another model's or a stranger's. Runs in a machine with the module and our tools installed, as root.
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstdlib>
#include <functional>
#include <optional>

#include "engine/prepared.hpp"
#include "store/store.hpp"
#include "store_support.hpp"
#include "support/small_model.hpp"

namespace llmos::test {
namespace {

const std::string name = "test-prepared", index_name = name + ".index";
constexpr uid_t stranger = 65534;

// In a process of its own, as that user; what fails there prints itself.
bool as_user(uid_t uid, const std::function<bool()>& check) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (::setresgid(uid, uid, uid) || ::setresuid(uid, uid, uid)) ::_exit(2);
    try {
      ::_exit(check() ? 0 : 1);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in the other process: %s\n", error.what());
      ::_exit(3);
    }
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return status == 0;
}

// The bytes of the index that this process would run on.
std::optional<Bytes> attached() {
  const auto store = core::open_store(LLMOS_STORE_KERNEL);
  const auto model = store->open(name);
  const auto index = core::find_index(*store, *model);
  if (!index) return std::nullopt;
  return Bytes(index->vocabulary.begin(), index->vocabulary.end());
}

std::string story(const std::string& what = name) {
  Engine engine(Store().open(what), {.threads = 1, .context = 64});
  return engine.generate("w1 w2", {.max_tokens = 8, .temperature = 0, .ignore_end = true}).text();
}

class PreparedInKernel : public EveryStore {
 protected:
  void SetUp() override {
    if (std::system("command -v llmosctl >/dev/null")) GTEST_SKIP() << "llmosctl is not installed here";
    EveryStore::SetUp();
    std::filesystem::permissions(dir_.path(), std::filesystem::perms(0755));
  }

  std::string file(uint64_t seed, uint32_t words = 64) const {
    return dir_.write(name, small_model(seed, words).bytes());
  }
  void load(uint64_t seed, uint32_t words, const std::string& options = "") const {
    ASSERT_EQ(std::system(("llmosctl load -q --mode 0444 " + options + " " + file(seed, words)).c_str()), 0);
  }
  static bool exists(const std::string& model) {
    return error_of([&] { Store().stat(model); }) == 0;
  }
};

TEST_F(PreparedInKernel, the_load_stores_it_sealed_for_whoever_may_read_the_model) {
  load(1, 64, "--evictable --priority -3");
  Store store = open();
  const ModelInfo model = store.stat(name), index = store.stat(index_name);
  EXPECT_EQ(index.mode, model.mode);
  EXPECT_EQ(index.mode & 0777, 0444u);
  EXPECT_EQ(index.uid, model.uid);
  EXPECT_EQ(index.gid, model.gid);
  EXPECT_EQ(index.evictable, model.evictable);
  EXPECT_EQ(index.priority, model.priority);
  EXPECT_EQ(store.verify(index_name), index.digest);
  const std::string path = "/sys/fs/llmos/models/" + index_name;
  EXPECT_EQ(::open(path.c_str(), O_RDWR), -1);
  EXPECT_TRUE(attached());
  load(1, 64, "--no-index");  // the same content: nothing is made anew
  EXPECT_EQ(store.stat(index_name).digest, index.digest);
}

TEST_F(PreparedInKernel, other_processes_find_it_and_share_its_pages) {
  load(1, 64);
  const std::string expected = story();
  EXPECT_TRUE(as_user(stranger, [] { return attached().has_value(); }));
  EXPECT_TRUE(as_user(stranger, [&] { return story() == expected; }));
  EXPECT_TRUE(as_user(stranger, [] {
    const Engine engine(Store().open(name), {.threads = 1, .context = 64});
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);)
      if (line.find(" r--s ") != std::string::npos && line.ends_with("/" + index_name)) return true;
    return false;
  }));
}

TEST_F(PreparedInKernel, a_model_without_one_gets_it_with_the_first_engine_of_its_owner) {
  load(1, 64, "--no-index");
  EXPECT_FALSE(exists(index_name));
  EXPECT_TRUE(as_user(stranger, [] { return !story().empty(); }));
  EXPECT_FALSE(exists(index_name));  // a stranger's engine makes its own, in its own memory
  EXPECT_FALSE(story().empty());
  EXPECT_TRUE(attached());
}

TEST_F(PreparedInKernel, a_stale_one_is_noticed_by_the_digest_and_made_anew) {
  load(1, 64);
  const Digest before = open().stat(index_name).digest;
  // The library loads bytes, and the old index stays: of a model of the same size and vocabulary.
  open().load(file(2, 64), {.name = name, .mode = 0444, .replace = true});
  EXPECT_FALSE(attached());
  open().load(file(2, 64), {.name = "test-plain"});
  EXPECT_EQ(story(), story("test-plain"));
  EXPECT_TRUE(attached());
  EXPECT_NE(open().stat(index_name).digest, before);
}

TEST_F(PreparedInKernel, a_load_replaces_the_stale_one) {
  load(1, 64);
  load(2, 80, "--replace");
  EXPECT_TRUE(attached());
}

TEST_F(PreparedInKernel, bytes_of_something_else_under_its_name_are_made_good) {
  load(1, 64, "--no-index");
  open().load(dir_.write("other", pattern(64 << 10)), {.name = index_name});
  EXPECT_FALSE(attached());
  EXPECT_FALSE(story().empty());
  EXPECT_TRUE(attached());
}

TEST_F(PreparedInKernel, a_strangers_is_not_believed) {
  load(1, 64, "--no-index");
  const auto store = core::open_store(LLMOS_STORE_KERNEL);
  const auto model = store->open(name);
  const Bytes good = core::make_index(model->bytes(), model->digest());
  Writer writer = open().create({.name = index_name, .bytes = good.size(), .uid = stranger, .mode = 0444});
  writer.write(0, good);
  writer.seal();
  EXPECT_FALSE(attached());
  EXPECT_TRUE(as_user(stranger, [] { return attached().has_value(); }));  // their own
  EXPECT_FALSE(story().empty());                                          // root replaces it
  EXPECT_EQ(open().stat(index_name).uid, 0u);
  EXPECT_TRUE(attached());
}

TEST_F(PreparedInKernel, it_goes_with_the_model) {
  load(1, 64);
  ASSERT_TRUE(exists(index_name));
  EXPECT_EQ(std::system(("llmosctl rm " + name).c_str()), 0);
  EXPECT_FALSE(exists(index_name));
  load(1, 64);
  EXPECT_EQ(std::system(("llmosctl rm " + name + " " + index_name).c_str()), 0);
  open().load(file(1), {});
  open().load(dir_.write("other", pattern(64 << 10)), {.name = index_name});  // no index, for all its name
  EXPECT_EQ(std::system(("llmosctl rm " + name).c_str()), 0);
  EXPECT_TRUE(exists(index_name));
}

TEST_F(PreparedInKernel, what_is_no_model_to_run_is_loaded_without_one) {
  EXPECT_EQ(std::system(("llmosctl load -q " + dir_.write(name, pattern(3 * kMiB))).c_str()), 0);
  EXPECT_TRUE(exists(name));
  EXPECT_FALSE(exists(index_name));
}

}  // namespace
}  // namespace llmos::test
