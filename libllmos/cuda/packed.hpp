// SPDX-License-Identifier: MIT
// Weights as the kernels read them: every field of a type's blocks in a plane of its own (see PackedWeight). A packed
// weight has about as many bytes as the one in the file.
#pragma once

#include <cstddef>
#include <functional>
#include <span>

#include "cuda/kernels/arguments.hpp"
#include "format/tensor.hpp"

namespace llmos::cuda {

size_t packed_bytes(const core::TensorView& weight);

// Whether the weight lies in the file as the kernels read it, so that it need not be packed: floats whose rows are
// whole 16-byte pieces.
bool lies_packed(const core::TensorView& weight);

// Where the planes of a packed weight lie that begins at `base`, an address on the device.
PackedWeight planes_of(const core::TensorView& weight, const std::byte* base);

// Makes the packed weight piece by piece: asks `room(want)` for up to `want` bytes of it, which follow the last, and
// fills what it is given (a multiple of 256, or all that is left).
void pack(const core::TensorView& weight, const std::function<std::span<std::byte>(size_t want)>& room);

}  // namespace llmos::cuda
