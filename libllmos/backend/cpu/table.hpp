// SPDX-License-Identifier: MIT
// The table of the set that the including translation unit is compiled for.
#pragma once

#include "backend/cpu/attention.hpp"
#include "backend/cpu/elementwise.hpp"

namespace llmos::core::LLMOS_SET {

inline Kernels make_table(std::string_view name, MatrixKernel matvec, MatrixKernel matmul) {
  return {
      .name = name,
      .quantize = quantize,
      .matvec = matvec,
      .matmul = matmul,
      .matmul_form = plain_form,
      .pack = nullptr,
      .norm = norm,
      .gate = gate,
      .soft_cap = soft_cap,
      .store_key = store_key,
      .store_value = store_value,
      .attend = attend,
  };
}

}  // namespace llmos::core::LLMOS_SET
