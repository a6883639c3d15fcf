// SPDX-License-Identifier: MIT
// Which weight, and which of its rows, a row of a launch's products is.
#pragma once

#include "cuda/kernels/device.cuh"

namespace llmos::cuda {

struct ProductRow {
  unsigned product, row;  // of the last row where there is none
  bool there;
};

// Row `row`, counted through the rows of all products; when gated, of one of the two that `gated_product` says.
DEVICE ProductRow product_row(const MultiplyArguments& a, unsigned row, unsigned gated_product) {
  const bool there = row < a.rows;
  if (!there) row = a.rows - 1;
  if (a.gated) return {gated_product, row, there};
  unsigned product = 0;
  UNROLL
  for (unsigned i = 0; i + 1 < most_products; i++)
    if (product == i && row >= a.products[i].rows) {
      row -= a.products[i].rows;
      product++;
    }
  return {product, row, there};
}

}  // namespace llmos::cuda
