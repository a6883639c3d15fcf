// SPDX-License-Identifier: MIT
// llmosctl policy ls, attach, detach, open, close: what bpf/README.md does by hand, with the same pins.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>

#include "bpf.hpp"
#include "cli.hpp"
#include "json.hpp"
#include "policies.hpp"
#include "scheduler.hpp"
#include "text.hpp"

namespace llmosctl {
namespace {

namespace fs = std::filesystem;
using llmos::Error;

constexpr const char* kHookNames[] = {"lane_key", "lane_slice", "evict_score", "admit"};

fs::path pins_of(const std::string& name) { return kPins / name; }
fs::path maps_of(const std::string& name) { return kPins / (name + std::string(kMapsSuffix)); }

// The programs of a folder of pins, or the objects of a folder; none where it cannot be read.
std::set<std::string> entries(const fs::path& folder) {
  std::set<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    names.insert(entry->path().filename());
  return names;
}

// ---- ls ----

struct Hook {
  std::string name;
  uint64_t answered = 0, by_default = 0, refused = 0;
};

struct Policy {
  std::string name;
  bool installed = false;
  std::set<std::string> programs;  // that are attached
  std::optional<uint32_t> gate;
  std::optional<std::string> ended;  // of a scheduler that the kernel has thrown out: why
};

std::vector<Hook> read_hooks() {
  std::vector<Hook> hooks;
  for (const char* name : kHookNames) {
    std::ifstream file(kHooks / name);
    if (!file)
      throw Error(ENODEV,
                  fmt::format("there is no {}: the llmos module is not loaded, or too old", (kHooks / name).native()));
    Hook hook{name};
    uint64_t count;
    for (std::string key; file >> key >> count;) {
      if (key == "answered") hook.answered = count;
      if (key == "default") hook.by_default = count;
      if (key == "refused") hook.refused = count;
    }
    hooks.push_back(hook);
  }
  return hooks;
}

std::vector<Policy> read_policies() {
  std::map<std::string, Policy> found;
  for (const std::string& file : entries(policies_folder()))
    if (file.ends_with(kPolicySuffix)) found[file.substr(0, file.size() - kPolicySuffix.size())].installed = true;
  for (const std::string& name : entries(kPins))
    if (!name.ends_with(kMapsSuffix)) found[name].programs = entries(pins_of(name));
  std::vector<Policy> policies;
  for (auto& [name, policy] : found) {
    policy.name = name;
    policy.gate = read_pinned_number(maps_of(name) / "gate");
    if (is_scheduler(name) && !policy.programs.empty()) policy.ended = scheduler_end(name);
    policies.push_back(policy);
  }
  return policies;
}

std::string joined(const std::set<std::string>& words) { return fmt::format("{}", fmt::join(words, " ")); }

void list(const Globals& globals) {
  const std::vector<Hook> hooks = read_hooks();
  const std::vector<Policy> policies = read_policies();
  if (globals.json) {
    nlohmann::ordered_json json = {{"available", policies_possible()}};
    json["hooks"] = json["policies"] = nlohmann::ordered_json::array();
    for (const Hook& hook : hooks)
      json["hooks"].push_back(
          {{"name", hook.name}, {"answered", hook.answered}, {"default", hook.by_default}, {"refused", hook.refused}});
    for (const Policy& policy : policies) {
      json["policies"].push_back({{"name", policy.name},
                                  {"installed", policy.installed},
                                  {"programs", policy.programs},
                                  {"open", nullptr},
                                  {"ended", nullptr}});
      if (policy.gate) json["policies"].back()["open"] = *policy.gate != 0;
      if (policy.ended) json["policies"].back()["ended"] = *policy.ended;
    }
    return print(json);
  }
  if (!policies_possible()) fmt::print("No policy can be attached here: kernel or module came without BTF.\n\n");
  Table table({"HOOK", "ANSWERED", "DEFAULT", "REFUSED"}, {1, 2, 3});
  for (const Hook& hook : hooks)
    table.add(
        {hook.name, std::to_string(hook.answered), std::to_string(hook.by_default), std::to_string(hook.refused)});
  table.print();
  fmt::print("\n");
  Table second({"POLICY", "INSTALLED", "GATE", "PROGRAMS"}, {});
  for (const Policy& policy : policies)
    second.add({policy.name, policy.installed ? "yes" : "no",
                !policy.gate   ? "-"
                : *policy.gate ? "open"
                               : "closed",
                policy.programs.empty() ? "-"
                : policy.ended          ? fmt::format("{} (ended: {})", joined(policy.programs), *policy.ended)
                                        : joined(policy.programs)});
  second.print();
}

// ---- attach, detach, open, close ----

// Its output goes to ours: bpftool says best what the kernel did not like.
void run_bpftool(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "bpftool");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child < 0) throw Error(errno, fmt::format("cannot start bpftool: {}", std::strerror(errno)));
  if (child == 0) {
    for (const char* place : {"bpftool", "/usr/sbin/bpftool", "/sbin/bpftool"}) {
      ::execvp(place, argv.data());
      if (errno != ENOENT) break;
    }
    ::_exit(errno == ENOENT ? 127 : 126);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    throw Error(ENOENT, "bpftool is not installed (Debian's package is called bpftool)");
  throw Error(EINVAL, fmt::format("\"{}\" failed", fmt::join(arguments, " ")));
}

void set_gate(const std::string& name, bool open) {
  check_policy_name(name);
  const fs::path gate = maps_of(name) / "gate";
  if (!fs::exists(gate)) throw Error(ENOENT, fmt::format("policy \"{}\" is not attached, or has no gate", name));
  write_pinned_number(gate, open ? 1 : 0);
}

void forget(const std::string& name) {
  check_policy_name(name);
  fs::remove_all(pins_of(name));
  fs::remove_all(maps_of(name));
  if (is_scheduler(name)) forget_scheduler(name);
}

void require_unattached(const std::string& name) {
  if (!fs::exists(pins_of(name))) return;
  const auto ended = is_scheduler(name) ? scheduler_end(name) : std::nullopt;
  if (!ended) throw Error(EEXIST, fmt::format("policy \"{}\" is attached already", name));
  throw Error(EEXIST, fmt::format("policy \"{}\" was attached, but the kernel has ended it ({}): "
                                  "\"llmosctl policy detach {}\" forgets it",
                                  name, *ended, name));
}

void load(const fs::path& object, const std::string& name) {
  if (is_scheduler(name))
    run_bpftool({"struct_ops", "register", object, pins_of(name)});
  else
    run_bpftool({"prog", "loadall", object, pins_of(name), "autoattach", "pinmaps", maps_of(name)});
}

void attach(const std::string& wanted, bool closed) {
  const fs::path object = policy_object(wanted);
  const std::string name = policy_name_of(object);
  require_policies();
  require_unattached(name);
  if (is_scheduler(name)) require_sched_ext();
  mount_bpf();
  fs::create_directories(kPins);
  forget(name);  // settings of an earlier time
  try {
    load(object, name);
  } catch (...) {  // nothing half attached
    forget(name);
    throw;
  }
  if (!closed && fs::exists(maps_of(name) / "gate")) set_gate(name, true);
}

void detach(const std::string& name) {
  check_policy_name(name);
  if (!fs::exists(pins_of(name))) throw Error(ENOENT, fmt::format("policy \"{}\" is not attached", name));
  forget(name);
}

// What is given to attach is a name, or the path of an object, which gives it one.
void check_attachable(const std::string& policy) {
  check_policy_name(policy.find('/') == policy.npos ? policy : policy_name_of(policy));
}

CLI::App* add_command(CLI::App* policy, const char* name, const char* help, const std::shared_ptr<std::string>& which) {
  CLI::App* command = policy->add_subcommand(name, help);
  command->add_option("POLICY", *which, "Its name, as \"policy ls\" shows it")
      ->required()
      ->check(accepted_by(check_policy_name));
  return command;
}

}  // namespace

void add_policies(CLI::App& app, Globals& globals) {
  CLI::App* policy = app.add_subcommand("policy", "Show, attach and detach policies: ls, attach, detach, open, close");
  policy->require_subcommand(1);
  policy->fallthrough();
  policy->add_subcommand("ls", "List hooks, how they were answered, and policies")->callback([&globals] {
    list(globals);
  });

  auto name = std::make_shared<std::string>();
  auto closed = std::make_shared<bool>(false);
  CLI::App* add = policy->add_subcommand("attach", "Attach a policy and open its gate");
  add->add_option("POLICY", *name, "The name of an installed one, or the path of an object")
      ->required()
      ->check(accepted_by(check_attachable));
  add->add_flag("--closed", *closed, "Leave its gate closed: it has no opinion yet");
  set_silent(add, globals, [=] { attach(*name, *closed); });
  set_silent(add_command(policy, "detach", "Detach a policy and forget its settings", name), globals,
             [=] { detach(*name); });
  set_silent(add_command(policy, "open", "Let a policy have opinions", name), globals, [=] { set_gate(*name, true); });
  set_silent(add_command(policy, "close", "Make it have none", name), globals, [=] { set_gate(*name, false); });
}

}  // namespace llmosctl
