// SPDX-License-Identifier: MIT
// The border of the C API: sizes of structs, null pointers, messages.
#include <thread>

#include "store_support.hpp"

namespace llmos::test {
namespace {

class CApi : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(llmos_store_open(LLMOS_STORE_MEMORY, &store_), 0); }
  void TearDown() override { llmos_store_close(store_); }

  llmos_model* load(const char* name) {
    llmos_model* model = nullptr;
    EXPECT_EQ(llmos_store_load(store_, dir_.write(name, pattern(1000)).c_str(), nullptr, &model), 0)
        << llmos_last_error();
    return model;
  }

  const TempDir dir_;
  llmos_store* store_ = nullptr;
};

TEST_F(CApi, fills_no_more_of_a_struct_than_an_older_program_has) {
  llmos_model* model = load("model");
  struct llmos_model_stat stat;
  std::memset(&stat, 0xee, sizeof(stat));
  stat.size = offsetof(struct llmos_model_stat, filled);
  EXPECT_EQ(llmos_model_stat(model, &stat), 0);
  EXPECT_EQ(stat.size, offsetof(struct llmos_model_stat, filled));
  EXPECT_EQ(stat.bytes, 1000u);
  EXPECT_EQ(stat.filled, 0xeeeeeeeeeeeeeeeeu);
  llmos_model_close(model);
}

TEST_F(CApi, gives_defaults_no_further_than_an_older_program_has_room) {
  llmos_generate_options options;
  std::memset(&options, 0xee, sizeof(options));
  const llmos_generate_options untouched = options;
  llmos_generate_options_default(&options, offsetof(llmos_generate_options, top_p));
  EXPECT_EQ(options.size, offsetof(llmos_generate_options, top_p));
  EXPECT_EQ(options.top_k, 40u);
  EXPECT_EQ(std::memcmp(&options.top_p, &untouched.top_p, sizeof(options) - offsetof(llmos_generate_options, top_p)), 0);
  llmos_generate_options_default(nullptr, sizeof(options));
}

TEST_F(CApi, says_what_is_null) {
  EXPECT_STREQ(llmos_model_name(nullptr), "");
  EXPECT_EQ(llmos_model_size(nullptr), 0u);
  EXPECT_EQ(llmos_model_fd(nullptr), -EINVAL);
}

TEST_F(CApi, survives_callbacks_that_throw_anything) {
  const std::string path = dir_.write("model", pattern(1000));
  llmos_model_options options{};
  options.size = sizeof(options);
  options.progress = [](void*, int, uint64_t, uint64_t) -> int { throw 7; };
  llmos_model* model = nullptr;
  EXPECT_EQ(llmos_store_load(store_, path.c_str(), &options, &model), -EIO);
  EXPECT_NE(std::string(llmos_last_error()).find("threw"), std::string::npos);
}

TEST_F(CApi, reads_the_options_of_an_older_program) {
  llmos_model_options options;
  std::memset(&options, 0xee, sizeof(options));
  options.size = offsetof(llmos_model_options, flags);
  options.name = "other";
  options.bytes = 500;
  llmos_model* model = nullptr;
  ASSERT_EQ(llmos_store_load(store_, dir_.write("model", pattern(1000)).c_str(), &options, &model), 0)
      << llmos_last_error();
  EXPECT_STREQ(llmos_model_name(model), "other");
  EXPECT_EQ(llmos_model_size(model), 500u);
  llmos_model_close(model);
}

TEST_F(CApi, refuses_what_a_newer_program_says_and_it_does_not_know) {
  struct {
    llmos_model_options options;
    uint64_t more;
  } newer{};
  newer.options.size = sizeof(newer);
  llmos_model* model = nullptr;
  const std::string path = dir_.write("model", pattern(1000));
  EXPECT_EQ(llmos_store_load(store_, path.c_str(), &newer.options, &model), 0) << llmos_last_error();
  llmos_model_close(model);
  newer.more = 1;
  EXPECT_EQ(llmos_store_load(store_, path.c_str(), &newer.options, &model), -E2BIG);
}

TEST_F(CApi, refuses_a_struct_without_its_size) {
  struct llmos_model_stat stat {};
  llmos_model* model = load("model");
  EXPECT_EQ(llmos_store_stat(store_, "model", &stat), -EINVAL);
  EXPECT_NE(std::string(llmos_last_error()).find("size"), std::string::npos) << llmos_last_error();
  llmos_model_close(model);
}

TEST_F(CApi, refuses_unknown_flags) {
  llmos_model_options options{};
  options.size = sizeof(options);
  options.flags = 1U << 30;
  llmos_model* model = nullptr;
  EXPECT_EQ(llmos_store_load(store_, dir_.write("model", pattern(10)).c_str(), &options, &model), -EINVAL);
}

TEST_F(CApi, refuses_null_where_something_is_needed) {
  llmos_model* model = nullptr;
  llmos_writer* writer = nullptr;
  EXPECT_EQ(llmos_store_open(LLMOS_STORE_MEMORY, nullptr), -EINVAL);
  EXPECT_EQ(llmos_store_load(nullptr, "x", nullptr, &model), -EINVAL);
  EXPECT_EQ(llmos_store_load(store_, nullptr, nullptr, &model), -EINVAL);
  EXPECT_EQ(llmos_store_load(store_, "x", nullptr, nullptr), -EINVAL);
  EXPECT_EQ(llmos_store_create(store_, nullptr, &writer), -EINVAL);
  EXPECT_EQ(llmos_model_open(store_, nullptr, &model), -EINVAL);
  EXPECT_EQ(llmos_model_map(nullptr, nullptr), -EINVAL);
  EXPECT_EQ(llmos_store_stat(store_, "x", nullptr), -ENOENT);
  EXPECT_EQ(llmos_store_list(store_, nullptr, nullptr), -EINVAL);
  EXPECT_EQ(llmos_store_revoke(store_, nullptr), -EINVAL);
  llmos_store_close(nullptr);
  llmos_model_close(nullptr);
  llmos_writer_close(nullptr);
}

TEST_F(CApi, refuses_a_name_without_an_end) {
  struct llmos_model_set set {};
  set.size = sizeof(set);
  std::memset(set.name, 'x', sizeof(set.name));
  EXPECT_EQ(llmos_store_set(store_, &set), -EINVAL);
}

TEST_F(CApi, stops_a_listing_when_told) {
  llmos_model_close(load("a"));
  llmos_model_close(load("b"));
  int calls = 0;
  auto once = [](void* context, const struct llmos_model_stat*) { return ++*static_cast<int*>(context) + 41; };
  EXPECT_EQ(llmos_store_list(store_, once, &calls), 42);
  EXPECT_EQ(calls, 1);
}

TEST_F(CApi, keeps_messages_of_threads_apart) {
  llmos_model* model = nullptr;
  EXPECT_EQ(llmos_model_open(store_, "mine", &model), -ENOENT);
  std::thread([&] {
    EXPECT_STREQ(llmos_last_error(), "");
    EXPECT_EQ(llmos_model_open(store_, "theirs", &model), -ENOENT);
    EXPECT_NE(std::string(llmos_last_error()).find("theirs"), std::string::npos);
  }).join();
  EXPECT_NE(std::string(llmos_last_error()).find("mine"), std::string::npos);
}

TEST_F(CApi, digests_files) {
  const Bytes bytes = pattern(3 * kMiB + 1);
  Digest digest;
  EXPECT_EQ(llmos_file_digest(dir_.write("file", bytes).c_str(), 0, digest.data()), 0);
  EXPECT_EQ(digest, reference_digest(bytes));
  EXPECT_EQ(digest_of_file(dir_ / "file"), digest);
  EXPECT_EQ(llmos_file_digest((dir_ / "absent").c_str(), 0, digest.data()), -ENOENT);
}

TEST_F(CApi, verify_tells_what_it_found_also_when_it_differs) {
  llmos_model_close(load("model"));
  const Bytes other = pattern(1000, 5);
  Digest found{};
  EXPECT_EQ(llmos_store_verify(store_, "model", dir_.write("other", other).c_str(), found.data()), -EBADMSG);
  EXPECT_EQ(found, reference_digest(other));
  EXPECT_EQ(llmos_store_verify(store_, "model", nullptr, nullptr), 0);
}

TEST(Version, is_that_of_the_project) { EXPECT_EQ(version(), LLMOS_TEST_VERSION); }

}  // namespace
}  // namespace llmos::test
