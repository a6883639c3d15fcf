// SPDX-License-Identifier: MIT
// llmosctl exec, version.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "cli.hpp"
#include "json.hpp"

namespace llmosctl {
namespace {

constexpr int kCannotRun = 126;  // as env(1) has it
constexpr int kNotFound = 127;

// Every "{}" in every argument becomes the path; without any, it is appended.
std::vector<std::string> with_path(std::vector<std::string> arguments, const std::string& path) {
  bool used = false;
  for (auto argument = arguments.begin() + 1; argument != arguments.end(); ++argument) {
    for (size_t at = 0; (at = argument->find("{}", at)) != std::string::npos; at += path.size()) {
      argument->replace(at, 2, path);
      used = true;
    }
  }
  if (!used) arguments.push_back(path);
  return arguments;
}

void exec(const std::string& name, const std::vector<std::string>& program) {
  open_store().open(name);  // the clear error, if there is one
  const std::vector<std::string> arguments = with_path(program, "/sys/fs/llmos/models/" + name);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  const int code = errno;
  complain(fmt::format("cannot run \"{}\": {}", program[0], std::strerror(code)));
  throw Exit{code == ENOENT ? kNotFound : kCannotRun};
}

}  // namespace

void add_exec(CLI::App& app, Globals& globals) {
  auto name = std::make_shared<std::string>();
  auto program = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand("exec", "Run a program with a model's path in place of {}");
  command->add_option("NAME", *name, "Model")->required();
  command->add_option("PROGRAM", *program, "Program and arguments; put -- before it")->required();
  set_silent(command, globals, [=] { exec(*name, *program); });
}

void add_version(CLI::App& app, Globals& globals) {
  CLI::App* command = app.add_subcommand("version", "Show the version of the library");
  command->callback([&globals] {
    if (globals.json) return print({{"library", llmos::version()}, {"abi", LLMOS_ABI_VERSION}});
    fmt::print("llmosctl {} (ABI {})\n", llmos::version(), LLMOS_ABI_VERSION);
  });
}

}  // namespace llmosctl
