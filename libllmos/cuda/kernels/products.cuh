// SPDX-License-Identifier: MIT
// Which weight, and which of its rows, a row of a launch's products is.
#pragma once

#include "cuda/kernels/device.cuh"

namespace llmos::cuda {

struct ProductRow {
  unsigned product, row;  // of the last row where there is none
  bool there;
};

// Row `row`, counted through the rows of all products.
DEVICE ProductRow row_of_all(const MultiplyArguments& a, unsigned row) {
  const bool there = row < a.rows;
  if (!there) row = a.rows - 1;
  unsigned product = 0;
  UNROLL
  for (unsigned i = 0; i + 1 < most_products; i++)
    if (product == i && row >= a.products[i].rows) {
      row -= a.products[i].rows;
      product++;
    }
  return {product, row, there};
}

// Row `row` of one of a gate's two products.
DEVICE ProductRow row_of_gate(const MultiplyArguments& a, unsigned product, unsigned row) {
  return {product, row < a.rows ? row : a.rows - 1, row < a.rows};
}

}  // namespace llmos::cuda
