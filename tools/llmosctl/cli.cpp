// SPDX-License-Identifier: MIT
#include "cli.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
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

void set_silent(CLI::App* command, const Globals& globals, std::function<void()> work) {
  command->callback([command, &globals, work = std::move(work)] {
    if (globals.json)
      throw CLI::ValidationError("--json", "\"" + command->get_name() + "\" prints nothing, and no JSON: leave it out");
    work();
  });
}

std::string about(const std::string& item, const std::string& message) {
  return message.find('"' + item + '"') == message.npos ? item + ": " + message : message;
}

bool for_each_item(const std::vector<std::string>& items, const std::function<void(const std::string&)>& work) {
  bool done = true;
  for (const std::string& item : items) {
    try {
      work(item);
    } catch (const llmos::Error& error) {
      complain(about(item, error.what()));
      done = false;
    }
  }
  return done;
}

void for_all_items(const std::vector<std::string>& items, const std::function<void(const std::string&)>& work) {
  if (!for_each_item(items, work)) throw Exit{kFailure};
}

void flush_output() {
  errno = 0;
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return;
  const int code = errno ? errno : EIO;
  throw llmos::Error(code, std::string("cannot write the output: ") + std::strerror(code));
}

}  // namespace llmosctl
