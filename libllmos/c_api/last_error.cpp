// SPDX-License-Identifier: MIT
#include <llmos/llmos.h>

#include <string>

#include "c_api/guard.hpp"

namespace llmos::core {
namespace {
thread_local std::string last_error;
}

void set_last_error(const char* message) noexcept {
  try {
    last_error = message;
  } catch (...) {
    last_error.clear();
  }
}

}  // namespace llmos::core

const char* llmos_last_error(void) { return llmos::core::last_error.c_str(); }

const char* llmos_version(void) { return LLMOS_VERSION; }
