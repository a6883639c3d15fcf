// SPDX-License-Identifier: MIT
// Checks that both stores share.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "store/store.hpp"
#include "system/error.hpp"
#include "system/topology.hpp"

namespace llmos::core {
namespace {

bool allowed(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("._+@:=-").find(c) != std::string_view::npos;
}

}  // namespace

void check_name(const std::string& name) {
  if (name.empty()) fail(EINVAL, "a model needs a name, and this one is empty");
  if (name.size() >= LLMOS_NAME_SIZE)
    fail(EINVAL, "the model name \"{}\" has {} bytes; at most {} are allowed", name, name.size(), LLMOS_NAME_SIZE - 1);
  if (name[0] == '.' || name[0] == '-')
    fail(EINVAL, "the model name \"{}\" begins with '{}'; give it another name", name, name[0]);
  const auto bad = std::find_if_not(name.begin(), name.end(), allowed);
  if (bad != name.end())
    fail(EINVAL, "the model name \"{}\" contains '{}'; letters, digits and ._+@:=- are allowed: give it another name",
         name, *bad);
}

void put_name(char (&field)[LLMOS_NAME_SIZE], const std::string& name) {
  check_name(name);
  std::memcpy(field, name.c_str(), name.size() + 1);
}

uint64_t checked_nodes(const llmos_model_options& options) {
  const uint64_t have = memory_nodes();
  uint64_t nodes = options.nodes;
  switch (options.node_policy) {
    case LLMOS_NODES_LOCAL:
      if (nodes) fail(EINVAL, "NUMA nodes {} are named, but the policy is \"local\"", node_list(nodes));
      return 0;
    case LLMOS_NODES_BIND:
      if (!nodes) fail(EINVAL, "the model is to be bound to NUMA nodes, but none is named");
      break;
    case LLMOS_NODES_INTERLEAVE:
      if (!nodes) nodes = have;
      break;
    default:
      fail(EINVAL, "there is no NUMA policy {}", options.node_policy);
  }
  if (nodes & ~have)
    fail(EINVAL, "NUMA node {} has no memory here; nodes with memory: {}", node_list(nodes & ~have), node_list(have));
  return nodes;
}

}  // namespace llmos::core
