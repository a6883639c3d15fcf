// SPDX-License-Identifier: MIT
// What the commands of llmosctl share.
#include <cerrno>

#include "cli.hpp"
#include "policies.hpp"
#include "store_support.hpp"

namespace llmosctl {
namespace {

TEST(Cli, names_the_item_that_a_message_is_about) {
  EXPECT_EQ(about("a.gguf", "not a GGUF file"), "a.gguf: not a GGUF file");
  EXPECT_EQ(about("a", "there is no model \"a\""), "there is no model \"a\"");
  EXPECT_EQ(about("a", "there is no model \"ab\""), "a: there is no model \"ab\"");
}

TEST(Cli, does_all_items_and_says_which_failed) {
  std::vector<std::string> seen;
  testing::internal::CaptureStderr();
  EXPECT_FALSE(for_each_item({"one", "two", "three"}, [&](const std::string& item) {
    seen.push_back(item);
    if (item == "two") throw llmos::Error(EINVAL, "is no good");
  }));
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "llmosctl: two: is no good\n");
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_TRUE(for_each_item({"one"}, [](const std::string&) {}));
}

TEST(Cli, takes_as_a_policy_only_what_cannot_leave_its_folder) {
  for (const char* name : {"fair", "scx_llmos", "A_1", "_maps_x"}) EXPECT_NO_THROW(check_policy_name(name)) << name;
  for (const char* name : {"", ".", "..", "../x", "a/b", "a.b", "a-b", "a b", "a\n", "\xc3\xa4"})
    EXPECT_ERROR(EINVAL, "is no name of a policy", check_policy_name(name));
  for (const char* name : {"fair_maps", "_maps"}) EXPECT_ERROR(EINVAL, "the maps of", check_policy_name(name));
  EXPECT_EQ(policy_name_of("/a/b.c/fair.bpf.o"), "fair");
  EXPECT_EQ(policy_name_of("./fair.o"), "fair");
  EXPECT_EQ(policy_name_of("/a/...bpf.o"), "..");
}

}  // namespace
}  // namespace llmosctl
