// SPDX-License-Identifier: MIT
#include <unistd.h>

#include <algorithm>

#include "store_support.hpp"
#include "system/topology.hpp"

namespace llmos::test {
namespace {

TEST(Topology, has_a_node_with_memory_and_cpus) {
  const std::vector<core::Node> nodes = core::nodes();
  ASSERT_FALSE(nodes.empty());
  uint64_t bytes = 0;
  size_t cpus = 0;
  for (const core::Node& node : nodes) {
    EXPECT_LE(node.free, node.bytes);
    bytes += node.bytes;
    cpus += node.cpus.size();
  }
  EXPECT_GT(bytes, 64 * kMiB);
  EXPECT_EQ(cpus, static_cast<size_t>(::sysconf(_SC_NPROCESSORS_ONLN)));
}

TEST(Topology, has_the_local_node_among_its_nodes) {
  const std::vector<core::Node> nodes = core::nodes();
  EXPECT_TRUE(
      std::any_of(nodes.begin(), nodes.end(), [](const core::Node& node) { return node.id == core::local_node(); }));
}

TEST(Topology, writes_masks_as_people_do) {
  EXPECT_EQ(core::node_list(0), "");
  EXPECT_EQ(core::node_list(0b1), "0");
  EXPECT_EQ(core::node_list(0b1011), "0-1,3");
  EXPECT_EQ(core::node_list(uint64_t{1} << 63), "63");
  EXPECT_EQ(core::node_list(~uint64_t{0}), "0-63");
}

TEST(Topology, knows_available_memory) {
  const auto all = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  EXPECT_GT(core::available_memory(), 0u);
  EXPECT_LE(core::available_memory(), all);
}

TEST(Topology, is_public) {
  const std::vector<Node> nodes = llmos::nodes();
  ASSERT_EQ(nodes.size(), core::nodes().size());
  EXPECT_EQ(nodes[0].bytes, core::nodes()[0].bytes);
}

}  // namespace
}  // namespace llmos::test
