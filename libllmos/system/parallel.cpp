// SPDX-License-Identifier: MIT
#include "system/parallel.hpp"

#include <sched.h>

#include <algorithm>

namespace llmos::core {

unsigned usable_cpus() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1U, std::thread::hardware_concurrency());
}

}  // namespace llmos::core
