// SPDX-License-Identifier: MIT
// The avx2 set.
#include "backend/cpu/matmul.hpp"
#include "backend/cpu/matvec.hpp"
#include "backend/cpu/table.hpp"

namespace llmos::core {

const Kernels& avx2_kernels() {
  static const Kernels table = avx2::make_table("avx2", avx2::matvec, avx2::matmul);
  return table;
}

}  // namespace llmos::core
