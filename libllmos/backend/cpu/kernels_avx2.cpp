// SPDX-License-Identifier: MIT
// The avx2 set.
#include "backend/cpu/matvec.hpp"
#include "backend/cpu/table.hpp"

namespace llmos::core {

const Kernels& avx2_kernels() {
  static const Kernels table = LLMOS_SET::make_table("avx2", LLMOS_SET::matvec, LLMOS_SET::matvec);
  return table;
}

}  // namespace llmos::core
