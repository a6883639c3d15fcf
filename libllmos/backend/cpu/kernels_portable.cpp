// SPDX-License-Identifier: MIT
// The portable set: compiled for the baseline of the target.
#include "backend/cpu/matvec.hpp"
#include "backend/cpu/table.hpp"

namespace llmos::core {

const Kernels& portable_kernels() {
  static const Kernels table = portable::make_table("portable", portable::matvec, portable::matvec);
  return table;
}

}  // namespace llmos::core
