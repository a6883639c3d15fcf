// SPDX-License-Identifier: MIT
#include <unistd.h>

#include "store_support.hpp"
#include "text.hpp"

namespace llmosctl {
namespace {

TEST(Text, writes_sizes_with_one_decimal) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(1024), "1.0 KiB");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_bytes((1 << 20) - 1), "1.0 MiB");
  EXPECT_EQ(human_bytes(uint64_t{265} << 30), "265.0 GiB");
  EXPECT_EQ(human_bytes(UINT64_MAX), "16384.0 PiB");
}

TEST(Text, writes_durations_with_one_unit) {
  EXPECT_EQ(human_duration(999'999'999), "0 s");
  EXPECT_EQ(human_duration(119'000'000'000), "119 s");
  EXPECT_EQ(human_duration(120'000'000'000), "2 min");
  EXPECT_EQ(human_duration(7'200'000'000'000), "2 h");
  EXPECT_EQ(human_duration(uint64_t{3} * 86400 * 1'000'000'000), "3 d");
}

TEST(Text, reads_sizes_with_and_without_a_unit) {
  EXPECT_EQ(parse_bytes("0"), 0u);
  EXPECT_EQ(parse_bytes("4096"), 4096u);
  EXPECT_EQ(parse_bytes("4k"), 4096u);
  EXPECT_EQ(parse_bytes("2M"), 2u << 20);
  EXPECT_EQ(parse_bytes("2MiB"), 2u << 20);
  EXPECT_EQ(parse_bytes("3GB"), uint64_t{3} << 30);
  EXPECT_EQ(parse_bytes("1T"), uint64_t{1} << 40);
}

TEST(Text, refuses_what_is_no_size) {
  for (const char* text : {"", "M", "-1", "1.5G", "2X", "2Mx", "20000000T", "99999999999999999999"})
    EXPECT_ERROR(EINVAL, "is no size", parse_bytes(text));
}

TEST(Text, reads_modes) {
  EXPECT_EQ(parse_mode("0640"), 0640u);
  EXPECT_EQ(parse_mode("444"), 0444u);
  for (const char* text : {"", "0888", "1777", "rw-r--r--", "-1"}) EXPECT_ERROR(EINVAL, "is no mode", parse_mode(text));
  EXPECT_EQ(octal(0440), "0440");
}

TEST(Text, reads_nodes) {
  EXPECT_EQ(parse_nodes("local").policy, static_cast<uint32_t>(LLMOS_NODES_LOCAL));
  EXPECT_EQ(parse_nodes("0").policy, static_cast<uint32_t>(LLMOS_NODES_BIND));
  EXPECT_EQ(parse_nodes("0").mask, 1u);
  EXPECT_EQ(parse_nodes("0,2-4,63").mask, uint64_t{1} << 63 | 0b11101);
  EXPECT_EQ(parse_nodes("interleave").policy, static_cast<uint32_t>(LLMOS_NODES_INTERLEAVE));
  EXPECT_EQ(parse_nodes("interleave").mask, 0u);
  EXPECT_EQ(parse_nodes("interleave:1,0").mask, 0b11u);
  for (const char* text : {"", "64", "-1", "0,", "a", "0-", "0-64", "interleave:", "interleave0", "remote", "3-1"})
    EXPECT_ERROR(EINVAL, "names no NUMA nodes", parse_nodes(text));
}

TEST(Text, reads_users_and_groups_by_name_and_number) {
  EXPECT_EQ(parse_user("root"), 0u);
  EXPECT_EQ(parse_user("12345"), 12345u);
  EXPECT_EQ(parse_group("root"), 0u);
  EXPECT_ERROR(ENOENT, "no user", parse_user("nobody-of-that-name"));
  EXPECT_ERROR(ENOENT, "no group", parse_group("12x"));
  EXPECT_EQ(user_name(0), "root");
  EXPECT_EQ(user_name(3999999999), "3999999999");
}

TEST(Text, writes_a_digest_only_when_it_is_known) {
  llmos::Digest digest{};
  EXPECT_EQ(digest_text(digest), "");
  digest[31] = 1;
  EXPECT_EQ(digest_text(digest), "sha256:" + std::string(62, '0') + "01");
}

TEST(Text, aligns_tables) {
  testing::internal::CaptureStdout();
  Table table({"NAME", "SIZE"}, {1});
  table.add({"a", "10 B"});
  table.add({"longer", "1.5 KiB"});
  table.print();
  EXPECT_EQ(testing::internal::GetCapturedStdout(),
            "NAME       SIZE\n"
            "a          10 B\n"
            "longer  1.5 KiB\n");
}

}  // namespace
}  // namespace llmosctl
