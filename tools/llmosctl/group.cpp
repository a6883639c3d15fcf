// SPDX-License-Identifier: MIT
// llmosctl group show, set.
#include <fmt/format.h>

#include <memory>

#include "cli.hpp"
#include "json.hpp"

namespace llmosctl {
namespace {

constexpr const char* kControls[] = {"memory.current", "memory.peak", "memory.max", "memory.low",    "memory.events",
                                     "time.weight",    "time.max",    "time.stat",  "models.current"};

struct Setting {
  std::string group, control, device, value;
};

// The root has no limits: what is not there is left out.
std::vector<std::pair<std::string, std::string>> read_all(const llmos::Group& group) {
  std::vector<std::pair<std::string, std::string>> found;
  group.read("memory.current");  // says what is wrong when there is no such group
  for (const char* control : kControls) {
    try {
      found.emplace_back(control, group.read(control));
    } catch (const llmos::Error& error) {
      if (error.code() != ENOENT) throw;
    }
  }
  return found;
}

void show(const Globals& globals, const std::string& path) {
  const auto controls = read_all(llmos::Group(path));
  nlohmann::ordered_json json;
  for (const auto& [control, text] : controls) {
    json[control] = nlohmann::ordered_json::array();
    for (size_t from = 0, to; (to = text.find('\n', from)) != text.npos; from = to + 1) {
      const std::string line = text.substr(from, to - from);
      json[control].push_back(line);
      if (!globals.json) fmt::print("{:<15} {}\n", control, line);
    }
  }
  if (globals.json) print(json);
}

// Numbers go to the kernel as they were given: it knows units, "max" and "default".
void set(const Setting& setting) { llmos::Group(setting.group).set(setting.control, setting.device, setting.value); }

}  // namespace

void add_groups(CLI::App& app, Globals& globals) {
  CLI::App* group = app.add_subcommand("group", "Show and set what a cgroup may take of devices: show, set");
  group->require_subcommand(1);
  group->fallthrough();

  auto path = std::make_shared<std::string>();
  CLI::App* shown = group->add_subcommand("show", "Show limits, use and events of a cgroup");
  shown->add_option("CGROUP", *path, "Its path under /sys/fs/cgroup; without it, the root");
  shown->callback([=, &globals] { show(globals, *path); });

  auto setting = std::make_shared<Setting>();
  CLI::App* change = group->add_subcommand("set", "Set a limit or a weight of a cgroup on a device");
  change->add_option("CGROUP", setting->group, "Its path under /sys/fs/cgroup")->required();
  change->add_option("CONTROL", setting->control, "What to set")
      ->required()
      ->check(CLI::IsMember({"memory.max", "memory.low", "time.weight", "time.max"}));
  change->add_option("DEVICE", setting->device, "Device; \"default\" for the weight on all of them")->required();
  change->add_option("VALUE", setting->value, "Such as 8G, max, 300, \"50000 100000\"")->required();
  set_silent(change, globals, [=] { set(*setting); });
}

}  // namespace llmosctl
