// SPDX-License-Identifier: MIT
// The part of the kernel's store that needs no right to use /dev/llmos: models as files.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "store/store.hpp"

namespace llmos::core {

// Names in /sys/fs/llmos/models, sorted. Throws ENOTCONN when it is not mounted.
std::vector<std::string> kernel_model_names();

std::unique_ptr<Model> open_kernel_model(const std::string& name);

// What a look at the directory tells: name, bytes, state, resident, owner, mode, and the digest if it may be read.
struct llmos_model_stat stat_kernel_file(const std::string& name);

}  // namespace llmos::core
