// SPDX-License-Identifier: MIT
// The portable set: compiled for the baseline of the target.
#include "backend/cpu/matvec.hpp"
#include "backend/cpu/table.hpp"

namespace llmos::core {

const Kernels& portable_kernels() {
  static const Kernels table = LLMOS_SET::make_table("portable", LLMOS_SET::matvec, LLMOS_SET::matvec);
  return table;
}

}  // namespace llmos::core
