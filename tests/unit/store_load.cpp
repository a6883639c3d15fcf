// SPDX-License-Identifier: MIT
// Loading files, in every store.
#include <fcntl.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "store_support.hpp"

namespace llmos::test {
namespace {

class Load : public EveryStore {};

TEST_F(Load, gives_the_bytes_of_the_file) {
  const Bytes bytes = pattern(5 * kMiB + 4321);
  Store store = open();
  const Model model = store.load(dir_.write("test-bytes", bytes));
  EXPECT_EQ(model.name(), "test-bytes");
  EXPECT_EQ(model.size(), bytes.size());
  EXPECT_TRUE(equal(model.bytes(), bytes));
  EXPECT_EQ(model.digest(), reference_digest(bytes));
  EXPECT_EQ(store.list().size(), 1u);
}

TEST_F(Load, takes_any_size) {
  Store store = open();
  for (const size_t size : {size_t{1}, size_t{511}, size_t{512}, size_t{4095}, size_t{4096}, size_t{4097}, 2 * kMiB - 1,
                            2 * kMiB, 2 * kMiB + 1, 8 * kMiB, 8 * kMiB + 4096, 17 * kMiB + 1}) {
    const Bytes bytes = pattern(size, 9);
    const Model model = store.load(dir_.write("file", bytes), {.name = "test-" + std::to_string(size)});
    EXPECT_TRUE(equal(model.bytes(), bytes)) << size;
    EXPECT_EQ(model.digest(), reference_digest(bytes)) << size;
  }
}

TEST_F(Load, takes_a_prefix_of_the_file) {
  const Bytes bytes = pattern(3 * kMiB);
  Store store = open();
  const Model model = store.load(dir_.write("file", bytes), {.name = "test-prefix", .bytes = kMiB + 5});
  EXPECT_TRUE(equal(model.bytes(), std::span(bytes).first(kMiB + 5)));
}

TEST_F(Load, takes_a_file_that_cannot_be_read_directly) {
  // A sysfs or proc file would do, but has no size; a memfd through /proc refuses nothing either. tmpfs did until
  // Linux 6.6.
  const TempDir dir;
  const std::string path = "/dev/shm/llmos-test-shm-" + std::to_string(::getpid());
  const Bytes bytes = pattern(2 * kMiB + 77);
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
  Store store = open();
  const Model model = store.load(path, {.name = "test-shm"});
  std::filesystem::remove(path);
  EXPECT_TRUE(equal(model.bytes(), bytes));
}

TEST_F(Load, takes_a_pipe_of_known_length) {
  const Bytes bytes = pattern(9 * kMiB + 3);
  const std::string pipe = dir_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::thread feeder([&] {
    std::ofstream(pipe, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
  });
  Store store = open();
  const Model model = store.load(pipe, {.name = "test-pipe", .bytes = bytes.size()});
  feeder.join();
  EXPECT_TRUE(equal(model.bytes(), bytes));
}

TEST_F(Load, refuses_a_pipe_of_unknown_length) {
  const std::string pipe = dir_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::thread feeder([&] { std::ofstream out(pipe); });
  EXPECT_ERROR(EINVAL, "how many bytes", open().load(pipe, {.name = "test-pipe"}));
  feeder.join();
}

TEST_F(Load, refuses_a_pipe_that_ends_early) {
  const std::string pipe = dir_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::thread feeder([&] { std::ofstream(pipe) << "short"; });
  Store store = open();
  EXPECT_ERROR(ENODATA, "ended at byte 5", store.load(pipe, {.name = "test-pipe", .bytes = kMiB}));
  feeder.join();
  EXPECT_TRUE(store.list().empty());
}

TEST_F(Load, refuses_what_is_no_model) {
  Store store = open();
  EXPECT_ERROR(ENOENT, "test-missing", store.load(dir_ / "test-missing"));
  EXPECT_ERROR(EISDIR, "directory", store.load(dir_.path(), {.name = "test-directory"}));
  EXPECT_ERROR(EINVAL, "empty", store.load(dir_.write("test-empty", {})));
  EXPECT_ERROR(ENODATA, "has 100 bytes", store.load(dir_.write("test-short", pattern(100)), {.bytes = 200}));
  EXPECT_TRUE(store.list().empty());
}

TEST_F(Load, refuses_a_file_without_read_permission) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may read everything";
  const std::string path = dir_.write("test-secret", pattern(10));
  ::chmod(path.c_str(), 0);
  EXPECT_ERROR(EACCES, "test-secret", open().load(path));
}

TEST_F(Load, refuses_bad_names) {
  Store store = open();
  const std::string path = dir_.write("file", pattern(10));
  EXPECT_ERROR(EINVAL, "begins with '.'", store.load(path, {.name = ".hidden"}));
  EXPECT_ERROR(EINVAL, "begins with '-'", store.load(path, {.name = "-option"}));
  EXPECT_ERROR(EINVAL, "contains '/'", store.load(path, {.name = "a/b"}));
  EXPECT_ERROR(EINVAL, "contains ' '", store.load(dir_.write("test name", pattern(10))));
  EXPECT_ERROR(EINVAL, "128 bytes", store.load(path, {.name = std::string(128, 'x')}));
  EXPECT_EQ(store.load(path, {.name = "test-" + std::string(122, 'x')}).name().size(), 127u);
}

TEST_F(Load, refuses_bad_options) {
  Store store = open();
  const std::string path = dir_.write("test-options", pattern(10));
  EXPECT_ERROR(EINVAL, "node", store.load(path, {.nodes = {LLMOS_NODES_BIND, uint64_t{1} << 63}}));
  EXPECT_ERROR(EINVAL, "none is named", store.load(path, {.nodes = Nodes::bind({})}));
  EXPECT_ERROR(EINVAL, "policy", store.load(path, {.nodes = {99, 0}}));
  EXPECT_ERROR(EINVAL, "", store.load(path, {.page_shift = 11}));
  EXPECT_ERROR(EINVAL, "", store.load(path, {.page_shift = 22}));
  EXPECT_TRUE(store.list().empty());
}

TEST_F(Load, places_on_the_nodes_asked_for) {
  Store store = open();
  const Bytes bytes = pattern(3 * kMiB);
  const std::string path = dir_.write("file", bytes);
  EXPECT_TRUE(equal(store.load(path, {.name = "test-bind", .nodes = Nodes::bind({0})}).bytes(), bytes));
  EXPECT_TRUE(equal(store.load(path, {.name = "test-all", .nodes = Nodes::interleave()}).bytes(), bytes));
}

TEST_F(Load, takes_small_pages) {
  Store store = open();
  const Bytes bytes = pattern(3 * kMiB);
  const Model model = store.load(dir_.write("test-small", bytes), {.page_shift = 12});
  EXPECT_TRUE(equal(model.bytes(), bytes));
  EXPECT_EQ(model.stat().huge, 0u);
}

TEST_F(Load, of_a_model_that_is_there_opens_it) {
  Store store = open();
  const std::string path = dir_.write("test-same", pattern(3 * kMiB));
  const Model first = store.load(path);
  bool filled = false;
  const Model second = store.load(
      path, {.progress = [&](const Progress& progress) { return filled |= progress.phase == Phase::fill, true; }});
  EXPECT_FALSE(filled);
  EXPECT_EQ(store.list().size(), 1u);
  EXPECT_EQ(store.stat("test-same").grants, 2u);
}

TEST_F(Load, of_another_file_under_a_name_that_is_taken_fails) {
  Store store = open();
  const Bytes bytes = pattern(3 * kMiB);
  store.load(dir_.write("a", bytes), {.name = "test-taken"});
  EXPECT_ERROR(EEXIST, "differs", store.load(dir_.write("b", pattern(3 * kMiB, 1)), {.name = "test-taken"}));
  EXPECT_ERROR(EEXIST, "differs", store.load(dir_.write("c", pattern(3 * kMiB - 1)), {.name = "test-taken"}));
  EXPECT_TRUE(equal(store.open("test-taken").bytes(), bytes));
}

TEST_F(Load, with_replace_keeps_the_old_bytes_for_who_has_them_open) {
  Store store = open();
  const Bytes before = pattern(3 * kMiB), after = pattern(2 * kMiB + 5, 1);
  const Model old = store.load(dir_.write("a", before), {.name = "test-replaced"});
  const Model fresh = store.load(dir_.write("b", after), {.name = "test-replaced", .replace = true});
  EXPECT_TRUE(equal(old.bytes(), before));
  EXPECT_TRUE(equal(fresh.bytes(), after));
  EXPECT_TRUE(equal(store.open("test-replaced").bytes(), after));
  EXPECT_EQ(store.list().size(), 1u);
}

TEST_F(Load, refuses_a_file_that_is_written_to_meanwhile) {
  Store store = open();
  const std::string path = dir_.write("test-growing", pattern(24 * kMiB));
  ::usleep(20'000);  // time stamps are coarse
  EXPECT_ERROR(EBUSY, "written to", store.load(path, {.progress = [&](const Progress& progress) {
                                                 if (progress.done == 0) std::ofstream(path, std::ios::app) << "more";
                                                 return true;
                                               }}));
  EXPECT_TRUE(store.list().empty());
}

TEST_F(Load, tells_how_far_it_is_on_the_calling_thread) {
  Store store = open();
  const uint64_t size = 40 * kMiB + 1;
  uint64_t last = 0, calls = 0;
  const auto caller = std::this_thread::get_id();
  store.load(dir_.write("test-progress", pattern(size)), {.progress = [&](const Progress& progress) {
               EXPECT_EQ(std::this_thread::get_id(), caller);
               EXPECT_EQ(progress.total, size);
               EXPECT_LE(progress.done, size);
               if (progress.phase == Phase::fill) {
                 EXPECT_GE(progress.done, last);
                 last = progress.done;
               }
               ++calls;
               return true;
             }});
  EXPECT_EQ(last, size);
  EXPECT_GE(calls, 2u);
}

TEST_F(Load, can_be_cancelled_and_leaves_nothing) {
  Store store = open();
  const uint64_t before = store.info().memory_current;
  const std::string path = dir_.write("test-cancel", pattern(64 * kMiB));
  EXPECT_ERROR(ECANCELED, "cancelled", store.load(path, {.progress = [](const Progress&) { return false; }}));
  EXPECT_TRUE(store.list().empty());
  EXPECT_EQ(store.info().memory_current, before);
  EXPECT_EQ(store.load(path).size(), 64 * kMiB);
}

TEST_F(Load, can_be_cancelled_in_its_middle) {
  // A pipe that nobody feeds on keeps the load where it is until it is cancelled.
  const std::string pipe = dir_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::atomic<bool> cancelled{false};
  std::thread feeder([&] {
    std::ofstream out(pipe, std::ios::binary);
    const Bytes part = pattern(4 * kMiB);
    out.write(reinterpret_cast<const char*>(part.data()), static_cast<long>(part.size())).flush();
    while (!cancelled) std::this_thread::yield();
    out.write(reinterpret_cast<const char*>(part.data()), static_cast<long>(part.size()));
  });
  Store store = open();
  EXPECT_ERROR(ECANCELED, "cancelled",
               store.load(pipe, {.name = "test-middle", .bytes = 64 * kMiB, .progress = [&](const Progress& progress) {
                                   if (progress.done < 4 * kMiB) return true;
                                   cancelled = true;
                                   return false;
                                 }}));
  feeder.join();
  EXPECT_TRUE(store.list().empty());
}

TEST_F(Load, passes_on_what_the_listener_throws) {
  struct Stop {};
  Store store = open();
  const std::string path = dir_.write("test-throw", pattern(kMiB));
  EXPECT_THROW(store.load(path, {.progress = [](const Progress&) -> bool { throw Stop(); }}), Stop);
  EXPECT_EQ(error_of([&] { store.open("test-throw"); }), ENOENT);
}

TEST_F(Load, of_one_name_by_many_threads_gives_one_model) {
  const std::string path = dir_.write("test-race", pattern(4 * kMiB));
  const Bytes bytes = pattern(4 * kMiB);
  const Store keep = open();  // the in-process store lives as long as a handle does
  std::atomic<int> good{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      Store store = open();
      if (equal(store.load(path).bytes(), bytes)) ++good;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 8);
  EXPECT_EQ(keep.list().size(), 1u);
}

}  // namespace
}  // namespace llmos::test
