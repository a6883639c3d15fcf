// SPDX-License-Identifier: MIT
// The avx512 set.
#include "backend/cpu/matmul.hpp"
#include "backend/cpu/matvec.hpp"
#include "backend/cpu/table.hpp"

namespace llmos::core {

const Kernels& avx512_kernels() {
  static const Kernels table = avx512::make_table("avx512", avx512::matvec, avx512::matmul);
  return table;
}

}  // namespace llmos::core
