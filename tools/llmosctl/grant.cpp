// SPDX-License-Identifier: MIT
// llmosctl grants, revoke, allow.
#include <fmt/format.h>

#include <chrono>
#include <ctime>
#include <fstream>
#include <limits>
#include <memory>

#include "cli.hpp"
#include "json.hpp"
#include "text.hpp"

namespace llmosctl {
namespace {

struct SubjectOptions {
  std::string name, user, cgroup;
  pid_t pid = 0;
};

std::string time_text(uint64_t nanoseconds) {
  const auto seconds = static_cast<time_t>(nanoseconds / 1'000'000'000);
  tm local{};
  ::localtime_r(&seconds, &local);
  char text[32];
  std::strftime(text, sizeof(text), "%F %T", &local);
  return text;
}

std::string command_of(pid_t pid) {
  std::string command;
  std::getline(std::ifstream(fmt::format("/proc/{}/comm", pid)), command);
  return command;
}

std::string note(const llmos::Grant& grant) {
  if (grant.revoked) return "revoked";
  return grant.loader ? "loader" : "";
}

void print_table(const std::vector<llmos::Grant>& grants) {
  Table table({"PID", "COMMAND", "USER", "MAPPED", "SINCE", "NOTE"}, {0, 3});
  for (const llmos::Grant& grant : grants)
    table.add({grant.pid ? std::to_string(grant.pid) : "-", command_of(grant.pid), user_name(grant.uid),
               human_bytes(grant.mapped), time_text(grant.opened_ns), note(grant)});
  table.print();
}

void list(const Globals& globals, const std::string& name) {
  const std::vector<llmos::Grant> grants = open_store().grants(name);
  if (!globals.json) return print_table(grants);
  auto array = nlohmann::ordered_json::array();
  for (const llmos::Grant& grant : grants) array.push_back(to_json(grant));
  print(array);
}

llmos::Subject subject_of(const SubjectOptions& options) {
  if (options.pid) return llmos::Subject::pid(options.pid);
  if (!options.user.empty()) return llmos::Subject::uid(parse_user(options.user));
  const bool whole_path = options.cgroup.starts_with("/sys/fs/cgroup");
  return llmos::Subject::cgroup(whole_path ? options.cgroup : "/sys/fs/cgroup/" + options.cgroup);
}

void revoke(const Globals& globals, const SubjectOptions& options, bool keep_access) {
  const llmos::Revoked revoked = open_store().revoke(options.name, subject_of(options), keep_access);
  if (globals.json)
    return print({{"name", options.name}, {"revoked", revoked.grants}, {"busy_bytes", revoked.busy_bytes}});
  fmt::print("{}: {} grant{} revoked\n", options.name, revoked.grants, revoked.grants == 1 ? "" : "s");
  if (revoked.busy_bytes)
    complain(fmt::format("{} of \"{}\" are pinned for devices, which may go on reading them",
                         human_bytes(revoked.busy_bytes), options.name));
}

std::shared_ptr<SubjectOptions> add_subject(CLI::App* command) {
  auto options = std::make_shared<SubjectOptions>();
  command->add_option("NAME", options->name, "Model")->required();
  CLI::Option_group* subject = command->add_option_group("subject");
  subject->add_option("--pid", options->pid, "A process")->check(CLI::Range(1, std::numeric_limits<pid_t>::max()));
  subject->add_option("--uid", options->user, "A user, by name or number");
  subject->add_option("--cgroup", options->cgroup, "A cgroup and all below it: its path under /sys/fs/cgroup");
  subject->require_option(1);
  return options;
}

}  // namespace

void add_grants(CLI::App& app, Globals& globals) {
  auto name = std::make_shared<std::string>();
  CLI::App* grants = app.add_subcommand("grants", "Show who has a model open");
  grants->add_option("NAME", *name, "Model")->required();
  grants->callback([=, &globals] { list(globals, *name); });

  CLI::App* take =
      app.add_subcommand("revoke", "Take a model away from a process, a user or a cgroup, mappings included");
  auto from = add_subject(take);
  auto keep_access = std::make_shared<bool>(false);
  take->add_flag("--keep-access", *keep_access, "They may open it again");
  take->callback([=, &globals] { revoke(globals, *from, *keep_access); });

  CLI::App* give = app.add_subcommand("allow", "Let a process, a user or a cgroup open a model again");
  auto to = add_subject(give);
  set_silent(give, globals, [=] { open_store().allow(to->name, subject_of(*to)); });
}

}  // namespace llmosctl
