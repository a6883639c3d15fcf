// SPDX-License-Identifier: MIT
// Cgroups, which the kernel tells by number, by the names that people know.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace llmosctl {

// Paths below /sys/fs/cgroup by their directories' inode numbers, read once; "/" is the root.
class Cgroups {
 public:
  Cgroups();
  // The number itself where there is no such cgroup (any more, or that can be seen from here).
  std::string name(uint64_t id) const;

 private:
  std::map<uint64_t, std::string> paths_;
};

}  // namespace llmosctl
