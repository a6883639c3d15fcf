// SPDX-License-Identifier: MIT
// Exact dequantisation, equal to the last bit to the gguf package: used for embedding rows and as the tests' reference.
#pragma once

#include <cstddef>

#include "format/tensor.hpp"

namespace llmos::core {

// Writes `elements` floats; `elements` is a multiple of the type's block.
void dequantize(TensorType type, const std::byte* source, size_t elements, float* out);

}  // namespace llmos::core
