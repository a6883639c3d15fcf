// SPDX-License-Identifier: MIT
// What the commands of llmosctl share. One file per noun adds its commands to the app.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <llmos/llmos.hpp>
#include <string>
#include <vector>

namespace llmosctl {

// Exit statuses; llmosctl(1) documents them.
inline constexpr int kSuccess = 0;
inline constexpr int kFailure = 1;
inline constexpr int kUsage = 2;

struct Globals {
  bool json = false;
};

// Adds commands; what a command's callback throws ends the program.
void add_load(CLI::App& app, Globals& globals);
void add_models(CLI::App& app, Globals& globals);  // ls, stat, rm, set, evict, verify
void add_grants(CLI::App& app, Globals& globals);  // grants, revoke, allow
void add_exec(CLI::App& app, Globals& globals);
void add_devices(CLI::App& app, Globals& globals);   // device ls, add, set, rm
void add_groups(CLI::App& app, Globals& globals);    // group show, set
void add_lanes(CLI::App& app, Globals& globals);     // lane ls
void add_policies(CLI::App& app, Globals& globals);  // policy ls, attach, detach, open, close
void add_audit(CLI::App& app, Globals& globals);
void add_top(CLI::App& app, Globals& globals);
void add_doctor(CLI::App& app, Globals& globals);
void add_version(CLI::App& app, Globals& globals);
void add_run_commands(CLI::App& app, Globals& globals);  // run, tokenize, inspect

// Ends the program with this status; for commands that have already said why.
struct Exit {
  int status;
};

// The kernel's store. An in-process one would be gone when llmosctl ends, so LLMOS_STORE=memory is an error here.
llmos::Store open_store();

// "llmosctl: message" on standard error.
void complain(const std::string& message);

// As the check of an option: what `parse` throws Error for is a wrong command line.
CLI::Validator accepted_by(std::function<void(const std::string&)> parse);

// The work of a command that prints nothing: --json is refused, so that nobody waits for what never comes.
void set_silent(CLI::App* command, const Globals& globals, std::function<void()> work);

// "item: message", unless the message names the item itself.
std::string about(const std::string& item, const std::string& message);

// Does `work` for every item and complains about those it throws for; false if there were any.
[[nodiscard]] bool for_each_item(const std::vector<std::string>& items,
                                 const std::function<void(const std::string&)>& work);
// The same, and ends the program if there were any.
void for_all_items(const std::vector<std::string>& items, const std::function<void(const std::string&)>& work);

// Throws Error when something of what was printed did not arrive.
void flush_output();

}  // namespace llmosctl
