// SPDX-License-Identifier: MIT
#include "text/quote.hpp"

#include <fmt/format.h>

namespace llmos::core {

std::string quote(std::string_view text) {
  constexpr size_t longest = 80;
  std::string quoted = "\"";
  for (const char character : text.substr(0, longest)) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte == '"' || byte == '\\')
      quoted += {'\\', character};
    else if (byte < 0x20 || byte >= 0x7f)
      quoted += fmt::format("\\x{:02x}", byte);
    else
      quoted += character;
  }
  return quoted + (text.size() > longest ? "\"..." : "\"");
}

}  // namespace llmos::core
