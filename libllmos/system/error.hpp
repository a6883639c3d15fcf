// SPDX-License-Identifier: MIT
// How the inside of the library fails: by throwing Failure, which c_api.cpp turns into a negative errno and a message.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace llmos::core {

// An errno and a sentence that says what was asked, what was found, and what to do next.
class Failure : public std::runtime_error {
 public:
  Failure(int code, const std::string& message) : std::runtime_error(message), code_(code) {}
  int code() const noexcept { return code_; }  // positive errno

 private:
  int code_;
};

template <typename... Args>
[[noreturn]] void fail(int code, fmt::format_string<Args...> format, Args&&... args) {
  throw Failure(code, fmt::format(format, std::forward<Args>(args)...));
}

// Fails with the current errno; its text is appended to the message.
[[noreturn]] void fail_errno(std::string message);

}  // namespace llmos::core
