// SPDX-License-Identifier: MIT
// Models made of a program's own bytes, in every store.
#include <atomic>
#include <thread>

#include "store_support.hpp"

namespace llmos::test {
namespace {

class Write : public EveryStore {};

TEST_F(Write, makes_a_model_of_what_was_written) {
  Store store = open();
  const Bytes bytes = pattern(3 * kMiB + 100);
  Writer writer = store.create({.name = "test-written", .bytes = bytes.size()});
  writer.write(kMiB, std::span(bytes).subspan(kMiB));  // in any order
  writer.write(0, std::span(bytes).first(kMiB));
  const Model model = writer.seal();
  EXPECT_TRUE(equal(model.bytes(), bytes));
  EXPECT_EQ(model.digest(), reference_digest(bytes));
}

TEST_F(Write, has_no_name_before_the_seal) {
  Store store = open();
  {
    Writer writer = store.create({.name = "test-unsealed", .bytes = kMiB});
    EXPECT_EQ(error_of([&] { store.open("test-unsealed"); }), ENOENT);
    EXPECT_TRUE(store.list().empty());
  }
  EXPECT_EQ(error_of([&] { store.open("test-unsealed"); }), ENOENT);
}

TEST_F(Write, leaves_zeros_where_nothing_was_written) {
  Store store = open();
  Writer writer = store.create({.name = "test-zeros", .bytes = 2 * kMiB + 10});
  const std::byte one[]{std::byte{1}};
  writer.write(2 * kMiB, one);
  Bytes expected(2 * kMiB + 10);
  expected[2 * kMiB] = std::byte{1};
  EXPECT_TRUE(equal(writer.seal().bytes(), expected));
}

TEST_F(Write, refuses_bytes_past_the_end) {
  Store store = open();
  Writer writer = store.create({.name = "test-end", .bytes = 100});
  const Bytes bytes = pattern(10);
  EXPECT_EQ(error_of([&] { writer.write(100, bytes); }), EFBIG);
  EXPECT_EQ(error_of([&] { writer.write(UINT64_MAX - 4, bytes); }) != 0, true);
  writer.write(90, bytes);
}

TEST_F(Write, by_many_threads_at_once_puts_every_byte_in_its_place) {
  Store store = open();
  const size_t part = 333333;  // parts share pages
  const unsigned threads = 8, rounds = 6;
  const Bytes bytes = pattern(part * threads * rounds);
  Writer writer = store.create({.name = "test-threads", .bytes = bytes.size()});
  std::vector<std::thread> writers;
  for (unsigned thread = 0; thread < threads; ++thread)
    writers.emplace_back([&, thread] {
      for (unsigned round = 0; round < rounds; ++round) {
        const size_t at = (size_t{round} * threads + thread) * part;
        writer.write(at, std::span(bytes).subspan(at, part));
      }
    });
  for (std::thread& thread : writers) thread.join();
  EXPECT_TRUE(equal(writer.seal().bytes(), bytes));
}

TEST_F(Write, needs_a_name_and_a_length) {
  Store store = open();
  EXPECT_ERROR(EINVAL, "name", store.create({.bytes = 10}));
  EXPECT_ERROR(EINVAL, "at least one", store.create({.name = "test-nothing"}));
}

TEST_F(Write, of_a_name_that_is_taken_fails_at_once) {
  Store store = open();
  store.create({.name = "test-taken", .bytes = 10}).seal();
  EXPECT_ERROR(EEXIST, "already", store.create({.name = "test-taken", .bytes = 10}));
}

TEST_F(Write, of_a_name_taken_meanwhile_fails_at_the_seal_and_can_be_tried_again) {
  Store store = open();
  Writer late = store.create({.name = "test-meanwhile", .bytes = 3});
  const Bytes bytes = pattern(3);
  late.write(0, bytes);
  store.create({.name = "test-meanwhile", .bytes = 5}).seal();
  EXPECT_EQ(error_of([&] { late.seal(); }), EEXIST);
  store.remove("test-meanwhile");
  EXPECT_TRUE(equal(late.seal().bytes(), bytes));
}

TEST_F(Write, more_than_there_is_memory_for_is_refused) {
  std::string message;
  const int error = error_of([&] { open().create({.name = "test-huge", .bytes = uint64_t{1} << 42}); }, &message);
  EXPECT_TRUE(error == ENOMEM || error == EDQUOT) << message;
  EXPECT_NE(message.find("test-huge"), std::string::npos) << message;
}

TEST_F(Write, tells_how_far_the_seal_is) {
  Store store = open();
  std::vector<Progress> seen;
  Writer writer = store.create({.name = "test-progress", .bytes = 4 * kMiB, .progress = [&](const Progress& progress) {
                                  return seen.push_back(progress), true;
                                }});
  writer.seal();
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back().phase, Phase::digest);
  EXPECT_EQ(seen.back().done, 4 * kMiB);
}

}  // namespace
}  // namespace llmos::test
