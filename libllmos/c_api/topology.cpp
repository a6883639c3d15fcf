// SPDX-License-Identifier: MIT
#include "system/topology.hpp"

#include <llmos/llmos.h>

#include "c_api/guard.hpp"

using namespace llmos::core;

int llmos_nodes(llmos_node_fn each, void* context) {
  return guarded([&] {
    need(reinterpret_cast<const void*>(each), "each");
    for (const Node& node : nodes()) {
      const llmos_node ours{node.id, static_cast<uint32_t>(node.cpus.size()), node.bytes, node.free};
      if (const int result = each(context, &ours)) return result;
    }
    return 0;
  });
}
