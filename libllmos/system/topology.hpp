// SPDX-License-Identifier: MIT
// What memory and CPUs this machine has, as far as placing models is concerned.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace llmos::core {

struct Node {
  int id;
  uint64_t bytes;  // of memory; 0 for a node that only has CPUs
  uint64_t free;   // of these, unused
  std::vector<int> cpus;
};

// The NUMA nodes this process may use memory of, ascending; a machine without NUMA has node 0.
std::vector<Node> nodes();

// The node of the CPU that the caller runs on.
int local_node();

// The bit mask of nodes that have memory.
uint64_t memory_nodes();

// "0-1,3" for 0b1011.
std::string node_list(uint64_t mask);

// Bytes that can be taken without swapping or killing: of the machine, and of every cgroup above this process.
uint64_t available_memory();

}  // namespace llmos::core
