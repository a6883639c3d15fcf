// SPDX-License-Identifier: MIT
// How an engine is made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "backend/backend.hpp"

namespace llmos::core {

// Instead of a number of layers.
inline constexpr size_t all_layers = SIZE_MAX, fitting_layers = SIZE_MAX - 1;

struct EngineOptions {
  BackendOptions backend;
  size_t device_layers = all_layers;  // that run on the device, the last ones; more than there are: all
  size_t context = 0;                 // positions a sequence may have; 0: as trained, at most 4096
  size_t cache_bytes = 0;             // for all sequences together; 0: four full contexts
  CacheType cache_type = CacheType::f16;
  size_t batch_tokens = 512;  // tokens that go through the layers at once
  bool device_share = false;  // a lane of the kernel's device takes a turn for each batch
  std::string lane_name;      // of that lane

  size_t capacity() const { return batch_tokens > 0 ? batch_tokens : 1; }  // of a batch
};

}  // namespace llmos::core
