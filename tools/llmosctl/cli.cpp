// SPDX-License-Identifier: MIT
#include "cli.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace llmosctl {

llmos::Store open_store() {
  const char* which = std::getenv("LLMOS_STORE");
  if (which && std::string_view(which) == "memory")
    throw llmos::Error(
        EINVAL,
        "LLMOS_STORE is \"memory\", but a store in this process ends with it: unset LLMOS_STORE, or set it "
        "to \"kernel\"");
  return llmos::Store::kernel();
}

void complain(const std::string& message) { std::fprintf(stderr, "llmosctl: %s\n", message.c_str()); }

CLI::Validator accepted_by(std::function<void(const std::string&)> parse) {
  const auto message = [parse = std::move(parse)](std::string& text) -> std::string {
    try {
      parse(text);
      return {};
    } catch (const llmos::Error& error) {
      return error.what();
    }
  };
  return {message, ""};
}

void for_each_item(const std::vector<std::string>& items, const std::function<void(const std::string&)>& work) {
  bool failed = false;
  for (const std::string& item : items) {
    try {
      work(item);
    } catch (const llmos::Error& error) {
      complain(error.what());
      failed = true;
    }
  }
  if (failed) throw Exit{kFailure};
}

}  // namespace llmosctl
