// SPDX-License-Identifier: MIT
// llmosctl: models in the kernel, from the command line. See llmosctl(1).
#include <cstdio>
#include <exception>

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
    return app.exit(error) == 0 ? kSuccess : kUsage;
  }
}

}  // namespace
}  // namespace llmosctl

int main(int argc, char** argv) {
  using namespace llmosctl;
  try {
    return run(argc, argv);
  } catch (const Exit& exit) {
    return exit.status;
  } catch (const std::exception& error) {
    complain(error.what());
    return kFailure;
  }
}
