// SPDX-License-Identifier: MIT
// The CUDA backend's products of many tokens with weights of floats, where cuBLASLt makes them.
#include "cuda/cuda_backend.hpp"
#include "cuda/packed.hpp"

namespace llmos::core {

using namespace cuda;

namespace {

// Activations as the library takes them: x, and of brain floats what x leaves, which is multiplied, too.
struct Activations {
  const void* x;
  const void* rest;
  const float* scales;  // of tokens
  size_t stride, columns;
};

constexpr size_t zeros_unit = 8;  // columns: weights and activations of 16 bits have zeros up to it

}  // namespace

void CudaBackend::find_library() {
  if (std::exchange(cublas_, false)) library_ = LibraryProducts::open(*device_);
}

// While a step is recorded our own kernels do it: what the library issues is not ours to repeat.
bool CudaBackend::multiply_by_library(Matrix x, std::span<const Product> products, std::optional<Activation> gated) {
  const auto numbers = LibraryProducts::numbers_of(products[0].weight.type);
  if (!library_ || !numbers || recording_ || x.rows < least_tile_tokens) return false;
  Activations in{x.data, nullptr, nullptr, x.columns, x.columns};
  if (*numbers != LibraryProducts::Numbers::f32) {
    const bool splits = *numbers == LibraryProducts::Numbers::bf16;
    if (!reserve_halves(splits ? 2 * x.rows : x.rows, x.columns)) return false;
    const Halves halves = splits ? split(x) : halve(x);
    in = {halves.numbers, halves.rest, halves.scales, halves.stride,
          (x.columns + zeros_unit - 1) / zeros_unit * zeros_unit};
  }
  for (const Product& product : products) {
    const PackedWeight weight = planes_of(product.weight, product.weight.data);
    LibraryProducts::Product one{.numbers = *numbers,
                                 .add = false,
                                 .rows = product.weight.rows(),
                                 .tokens = x.rows,
                                 .columns = in.columns,
                                 .weight = weight.planes[0],
                                 .weight_stride = weight.row_bytes / LibraryProducts::bytes_of(*numbers),
                                 .x = in.x,
                                 .x_stride = in.stride,
                                 .out = product.out.data,
                                 .out_stride = product.out.columns};
    if (!library_->multiply(one)) return false;
    if (!in.rest) continue;
    one.x = in.rest;
    one.add = true;
    if (!library_->multiply(one)) return false;
  }
  for (const Product& product : products.first(gated ? 1 : products.size()))
    finish(product, in.scales, gated ? products[1].out.data : nullptr, gated.value_or(Activation::silu));
  return true;
}

// The brain floats of activations, and what they leave.
CudaBackend::Halves CudaBackend::split(Matrix x) {
  const size_t stride = half_stride(x.columns);
  auto* const high = reinterpret_cast<uint16_t*>(halves_.get());
  uint16_t* const low = high + x.rows * stride;
  const SplitArguments arguments{.x = x.data,
                                 .high = high,
                                 .low = low,
                                 .columns = static_cast<uint32_t>(x.columns),
                                 .stride = static_cast<uint32_t>(stride)};
  device_->launch(Kernel::split, static_cast<unsigned>(x.rows), 1, row_threads, &arguments);
  return {high, low, nullptr, stride};
}

void CudaBackend::finish(const Product& product, const float* scales, const float* up, Activation activation) {
  if (!scales && !up && !product.bias) return;
  constexpr unsigned rows_of_block = 4 * row_threads;
  const auto rows = static_cast<uint32_t>(product.weight.rows());
  const FinishArguments arguments{.out = product.out.data,
                                  .up = up,
                                  .scales = scales,
                                  .bias = product.bias,
                                  .rows = rows,
                                  .out_stride = static_cast<uint32_t>(product.out.columns),
                                  .activation = static_cast<uint32_t>(activation)};
  device_->launch(Kernel::finish, static_cast<unsigned>(product.out.rows), (rows + rows_of_block - 1) / rows_of_block,
                  row_threads, &arguments);
}

}  // namespace llmos::core
