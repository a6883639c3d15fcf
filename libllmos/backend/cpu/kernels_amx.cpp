// SPDX-License-Identifier: MIT
// The amx set: that of avx512, with tiles of brain floats for many rows.
#include "backend/cpu/matmul_tiles.hpp"
#include "backend/cpu/matvec.hpp"
#include "backend/cpu/table.hpp"

namespace llmos::core {
namespace {

Form tile_form(TensorType type) {
  if (type == TensorType::f32) return Form::values;
  return type == TensorType::f16 || type == TensorType::bf16 ? Form::fine_tiles : Form::tiles;
}

Kernels make_amx_table() {
  Kernels table = amx::make_table("amx", amx::matvec, amx::matmul_by_tiles);
  table.matmul_form = tile_form;
  table.pack = amx::pack;
  return table;
}

}  // namespace

const Kernels& amx_kernels() {
  static const Kernels table = make_amx_table();
  return table;
}

}  // namespace llmos::core
