// SPDX-License-Identifier: MIT
// Foreign text in messages: names from files are quoted, cut to a readable length, and cannot carry control characters
// into a terminal or a log.
#pragma once

#include <string>
#include <string_view>

namespace llmos::core {

// "text" with backslash escapes for everything that is not printable ASCII, or "the first 80 bytes"... .
std::string quote(std::string_view text);

}  // namespace llmos::core
