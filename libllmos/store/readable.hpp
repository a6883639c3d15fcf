// SPDX-License-Identifier: MIT
#pragma once

#include <memory>

#include "store/store.hpp"

namespace llmos::core {

// For a user who may not use /dev/llmos but sees /sys/fs/llmos/models: opens what is there, and loads into the process.
std::unique_ptr<Store> open_readable_store();

}  // namespace llmos::core
