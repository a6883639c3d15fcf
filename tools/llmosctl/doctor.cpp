// SPDX-License-Identifier: MIT
// llmosctl doctor.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "checks.hpp"
#include "cli.hpp"
#include "json.hpp"

namespace llmosctl {
namespace {

const char* name_of(Level level) {
  switch (level) {
    case Level::ok:
      return "ok";
    case Level::warn:
      return "warn";
    case Level::fail:
      return "fail";
  }
  return "";
}

std::string coloured(Level level) {
  const int colour = level == Level::ok ? 32 : level == Level::warn ? 33 : 31;
  const std::string name = fmt::format("{:<4}", name_of(level));
  return ::isatty(STDOUT_FILENO) ? fmt::format("\x1b[{}m{}\x1b[0m", colour, name) : name;
}

void print_lines(const std::vector<Check>& checks) {
  for (const Check& check : checks) {
    fmt::print("{}  {:<10}  {}\n", coloured(check.level), check.what, check.found);
    if (!check.advice.empty()) fmt::print("                  -> {}\n", check.advice);
  }
}

void print_json(const std::vector<Check>& checks) {
  auto array = nlohmann::ordered_json::array();
  for (const Check& check : checks)
    array.push_back(
        {{"check", check.what}, {"level", name_of(check.level)}, {"found", check.found}, {"advice", check.advice}});
  print(array);
}

void doctor(const Globals& globals) {
  const std::vector<Check> checks = examine(this_system());
  if (globals.json)
    print_json(checks);
  else
    print_lines(checks);
  if (std::any_of(checks.begin(), checks.end(), [](const Check& check) { return check.level == Level::fail; }))
    throw Exit{kFailure};
}

}  // namespace

void add_doctor(CLI::App& app, Globals& globals) {
  CLI::App* command = app.add_subcommand("doctor", "Say what keeps llmos from working here, and what to do");
  command->callback([&globals] { doctor(globals); });
}

}  // namespace llmosctl
