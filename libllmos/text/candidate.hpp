// SPDX-License-Identifier: MIT
// A token that a sampler may choose.
#pragma once

#include <cstdint>

namespace llmos::core {

struct Candidate {
  float logit;
  int32_t token;
};

}  // namespace llmos::core
