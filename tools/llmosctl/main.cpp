// SPDX-License-Identifier: MIT
// llmosctl: models in the kernel, from the command line. See llmosctl(1).
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <sstream>
#include <system_error>

#include "cli.hpp"

namespace llmosctl {

namespace {

int run(int argc, char** argv) {
  Globals globals;
  CLI::App app("Models in the kernel: one copy in memory for every program that uses it.", "llmosctl");
  app.require_subcommand(1);
  app.fallthrough();  // global options may also follow the command
  app.add_flag("--json", globals.json, "Print JSON: exact sizes, every field");
  app.set_version_flag("--version", "llmosctl " + llmos::version());
  app.footer("\"llmosctl COMMAND --help\" says more; so does llmosctl(1).");
  add_load(app, globals);
  add_models(app, globals);
  add_grants(app, globals);
  add_exec(app, globals);
  add_devices(app, globals);
  add_groups(app, globals);
  add_lanes(app, globals);
  add_policies(app, globals);
  add_audit(app, globals);
  add_top(app, globals);
  add_doctor(app, globals);
  add_run_commands(app, globals);
  add_version(app, globals);
  try {
    app.parse(argc, argv);
    return kSuccess;
  } catch (const CLI::ParseError& error) {
    if (app.get_subcommands().empty() && app.remaining_size()) {  // CLI11 would only say that a command is missing
      complain("there is no command \"" + app.remaining()[0] + "\"; \"llmosctl --help\" lists those there are");
      return kUsage;
    }
    std::ostringstream out;
    const int code = app.exit(error, out, std::cerr);
    fmt::print("{}", out.str());
    return code == 0 ? kSuccess : kUsage;
  }
}

// What was closed before we began must not become a file of ours that output goes to: it fails, as it would have.
void keep_standard_files_closed() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(fd, F_GETFD) < 0) static_cast<void>(::open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY));
}

std::string message_of(const std::exception& error) {
  const auto* system = dynamic_cast<const std::system_error*>(&error);
  if (system && std::ferror(stdout)) return "cannot write the output: " + system->code().message();
  if (const auto* file = dynamic_cast<const std::filesystem::filesystem_error*>(&error))
    return "cannot look at \"" + file->path1().native() + "\": " + file->code().message();
  return error.what();
}

}  // namespace
}  // namespace llmosctl

int main(int argc, char** argv) {
  using namespace llmosctl;
  keep_standard_files_closed();
  int status = kSuccess;
  try {
    try {
      status = run(argc, argv);
    } catch (const Exit& exit) {
      status = exit.status;
    }
    flush_output();  // what is lost is no success
  } catch (const std::exception& error) {
    complain(message_of(error));
    status = kFailure;
  }
  return status;
}
