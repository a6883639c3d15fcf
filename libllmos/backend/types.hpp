// SPDX-License-Identifier: MIT
// The two choices that backends and their kernels share.
#pragma once

#include <cstdint>

namespace llmos::core {

enum class Activation : uint8_t { silu, gelu };  // gelu by its tanh approximation

enum class CacheType : uint8_t { f16, q8_0 };  // of the keys and values of earlier positions

}  // namespace llmos::core
