// SPDX-License-Identifier: MIT
// Placement on NUMA nodes: exactly as asked for, or ENOMEM that names the node. Needs a machine with two nodes.
#include <sched.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

class Numa : public ModuleTest {
 protected:
  void SetUp() override {
    ModuleTest::SetUp();
    if (!exists("/sys/devices/system/node/node1")) GTEST_SKIP() << "a machine with one node; boot it with --numa 2";
  }
};

uint64_t node_free(int node) {
  const std::string file = "/sys/devices/system/node/node" + std::to_string(node) + "/meminfo";
  return std::stoull(must_shell("awk '/MemFree/ {print $4}' " + file)) * KiB;
}

// The node of each page of the mapping, asked of the kernel.
std::vector<int> nodes_of(const Mapping& map) {
  map.touch();
  std::vector<void*> pages;
  for (uint64_t at = 0; at < map.size(); at += page) pages.push_back(map.data() + at);
  std::vector<int> nodes(pages.size(), -1);
  if (syscall(SYS_move_pages, 0, pages.size(), pages.data(), nullptr, nodes.data(), 0)) throw_errno("move_pages");
  return nodes;
}

std::vector<int> nodes_of(const std::string& name, uint64_t bytes) {
  return nodes_of(Mapping(open_model(name), bytes));
}

bool all_on(const std::vector<int>& nodes, int node) {
  return std::ranges::all_of(nodes, [node](int each) { return each == node; });
}

TEST_F(Numa, BoundToANodeEveryPageIsThere) {
  constexpr uint64_t bytes = 8 * huge_page + 3 * page;
  for (const int node : {0, 1}) {
    for (const uint32_t shift : {0u, 12u}) {
      make_model("model", bytes, {.page_shift = shift, .node_policy = LLMOS_NODES_BIND, .nodes = 1ULL << node});
      EXPECT_TRUE(all_on(nodes_of("model", bytes), node)) << "node " << node << ", page_shift " << shift;
      EXPECT_EQ(pattern_differs_in(open_model("model"), bytes), std::nullopt);
      EXPECT_OK(model_remove("model"));
    }
  }
}

TEST_F(Numa, InterleavedPageByPage) {
  constexpr uint64_t bytes = 8 * huge_page;
  make_model("model", bytes, {.node_policy = LLMOS_NODES_INTERLEAVE, .nodes = 3});
  const auto nodes = nodes_of("model", bytes);
  for (size_t i = 0; i < nodes.size(); i++)
    ASSERT_EQ(nodes[i], (nodes[0] + static_cast<int>(i / (huge_page / page))) % 2) << "page " << i;
}

TEST_F(Numa, BoundToTwoNodesFillsTheFirstFirst) {
  const Setting limit(memory_max_file, "max");
  write_file("/proc/sys/vm/drop_caches", "3");  // what reclaim could free later counts as free now
  const Fd balloon = create("balloon", node_free(0) - 64 * MiB, {.node_policy = LLMOS_NODES_BIND, .nodes = 1});
  constexpr uint64_t bytes = 384 * MiB;  // far more than is left on the first, whatever is reclaimed there
  const Fd fd = create("model", bytes, {.node_policy = LLMOS_NODES_BIND, .nodes = 3});
  ASSERT_EQ(model_seal(fd), 0);
  const auto nodes = nodes_of("model", bytes);
  EXPECT_EQ(nodes.front(), 0);
  EXPECT_EQ(nodes.back(), 1);
  EXPECT_TRUE(std::ranges::is_sorted(nodes));
}

TEST_F(Numa, NodeThatIsTooSmallIsNamed) {
  const Setting limit(memory_max_file, "max");
  auto args = create_args("model", node_free(1) + 256 * MiB);
  args.node_policy = LLMOS_NODES_BIND;
  args.nodes = 1ULL << 1;
  EXPECT_ERRNO(ENOMEM, model_create(args));
  EXPECT_EQ(args.failed_node, 1);
  EXPECT_EQ(memory_current(), 0u);
}

TEST_F(Numa, NodesThatAreNotThereAreNamed) {
  for (const int node : {2, 63}) {
    auto args = create_args("model", page);
    args.node_policy = LLMOS_NODES_BIND;
    args.nodes = 1 | 1ULL << node;
    EXPECT_ERRNO(EINVAL, model_create(args));
    EXPECT_EQ(args.failed_node, node);
  }
}

TEST_F(Numa, LocalIsTheNodeOfTheCaller) {
  for (const int node : {0, 1}) {
    in_child([&] {
      const std::string list = must_shell("cat /sys/devices/system/node/node" + std::to_string(node) + "/cpulist");
      cpu_set_t cpus;
      CPU_ZERO(&cpus);
      CPU_SET(std::stoi(list), &cpus);
      ASSERT_EQ(sched_setaffinity(0, sizeof(cpus), &cpus), 0);
      make_model("model", 4 * huge_page);
      EXPECT_TRUE(all_on(nodes_of("model", 4 * huge_page), node));
      EXPECT_OK(model_remove("model"));
    });
  }
}

TEST_F(Numa, PagesAreNotMovedLater) {
  constexpr uint64_t bytes = 4 * huge_page;
  for (const uint32_t shift : {0u, 12u}) {
    make_model("model", bytes, {.page_shift = shift, .node_policy = LLMOS_NODES_BIND, .nodes = 1});
    const Mapping map(open_model("model"), bytes);
    map.touch();
    const auto frames = page_frames(map.data(), bytes);

    std::vector<void*> pages;
    for (uint64_t at = 0; at < bytes; at += page) pages.push_back(map.data() + at);
    std::vector<int> to(pages.size(), 1), status(pages.size(), 0);
    syscall(SYS_move_pages, 0, pages.size(), pages.data(), to.data(), status.data(), 4 /* MPOL_MF_MOVE_ALL */);
    EXPECT_TRUE(std::ranges::none_of(status, [](int each) { return each == 1; }));
    unsigned long from_mask = 1, to_mask = 2;
    syscall(SYS_migrate_pages, 0, 8, &from_mask, &to_mask);
    syscall(SYS_mbind, map.data(), bytes, 2 /* MPOL_BIND */, &to_mask, 8, 4 /* MPOL_MF_MOVE_ALL */);
    write_file("/proc/sys/vm/compact_memory", "1");
    map.touch();
    EXPECT_EQ(page_frames(map.data(), bytes), frames);
    EXPECT_TRUE(all_on(nodes_of(map), 0));
    EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
    EXPECT_OK(model_remove("model"));
  }
}

}  // namespace
}  // namespace llmos::guest
