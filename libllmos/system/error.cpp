// SPDX-License-Identifier: MIT
#include "system/error.hpp"

#include <cerrno>
#include <system_error>

namespace llmos::core {

void fail_errno(std::string message) {
  const int code = errno;
  throw Failure(code, message + ": " + std::generic_category().message(code));
}

}  // namespace llmos::core
