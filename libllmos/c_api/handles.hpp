// SPDX-License-Identifier: MIT
// What the opaque handles of the C API are.
#pragma once

#include <llmos/llmos.h>

#include <memory>
#include <string>
#include <vector>

#include "store/store.hpp"

struct llmos_store {
  std::unique_ptr<llmos::core::Store> store;
};

struct llmos_model {
  std::unique_ptr<llmos::core::Model> model;
};

struct llmos_writer {
  std::unique_ptr<llmos::core::Writer> writer;
  std::vector<std::byte> signature;
  llmos_model_options options;  // its pointers are set at the seal; only progress and context are the caller's
};
