// SPDX-License-Identifier: MIT
// EXPECT_FAILURE(code, "part of the message", expression): the expression throws that Failure.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "system/error.hpp"

namespace llmos::test {

template <typename Action>
testing::AssertionResult fails_with(int code, std::string_view part, Action action) {
  try {
    action();
  } catch (const core::Failure& failure) {
    const std::string message = failure.what();
    if (failure.code() == code && message.find(part) != std::string::npos) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "failed with " << failure.code() << ": " << message << "\nwanted " << code
                                       << ": ..." << part << "...";
  }
  return testing::AssertionFailure() << "did not fail; wanted " << code << ": ..." << part << "...";
}

}  // namespace llmos::test

#define EXPECT_FAILURE(code, part, ...) \
  EXPECT_TRUE(::llmos::test::fails_with(code, part, [&] { static_cast<void>(__VA_ARGS__); }))
