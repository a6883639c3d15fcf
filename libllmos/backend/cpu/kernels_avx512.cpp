// SPDX-License-Identifier: MIT
// The avx512 set.
#include "backend/cpu/matvec.hpp"
#include "backend/cpu/table.hpp"

namespace llmos::core {

const Kernels& avx512_kernels() {
  static const Kernels table = LLMOS_SET::make_table("avx512", LLMOS_SET::matvec, LLMOS_SET::matvec);
  return table;
}

}  // namespace llmos::core
