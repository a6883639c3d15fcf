// SPDX-License-Identifier: MIT
#pragma once

#include <cpuid.h>

#include <cstring>

namespace llmos::bench {

// By QEMU's TCG: then only ratios between times mean anything.
inline bool emulated() {
  unsigned a, b = 0, c = 0, d = 0;
  __cpuid(0x40000000, a, b, c, d);
  char vendor[13] = {};
  memcpy(vendor, &b, 4);
  memcpy(vendor + 4, &c, 4);
  memcpy(vendor + 8, &d, 4);
  return !strcmp(vendor, "TCGTCGTCGTCG");
}

}  // namespace llmos::bench
