// SPDX-License-Identifier: MIT
// llmosctl lane ls.
#include <algorithm>
#include <memory>

#include "cgroups.hpp"
#include "cli.hpp"
#include "json.hpp"
#include "text.hpp"

namespace llmosctl {
namespace {

// Those of one device, or all, in the order in which they were made.
std::vector<llmos::LaneInfo> lanes_of(const std::string& device) {
  std::vector<llmos::LaneInfo> lanes = llmos::Lane::list();
  if (!device.empty()) std::erase_if(lanes, [&](const llmos::LaneInfo& lane) { return lane.device != device; });
  std::sort(lanes.begin(), lanes.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return lanes;
}

void list(const Globals& globals, const std::string& device) {
  const Cgroups cgroups;
  const std::vector<llmos::LaneInfo> lanes = lanes_of(device);
  if (globals.json) {
    auto array = nlohmann::ordered_json::array();
    for (const llmos::LaneInfo& lane : lanes) array.push_back(to_json(lane, cgroups.name(lane.cgroup)));
    return print(array);
  }
  Table table(
      {"ID", "DEVICE", "CGROUP", "NAME", "PID", "WEIGHT", "STATE", "TURNS", "USED", "WAITED", "OVERRUNS", "LOST"},
      {0, 4, 5, 7, 8, 9, 10, 11});
  for (const llmos::LaneInfo& lane : lanes)
    table.add({std::to_string(lane.id), lane.device, cgroups.name(lane.cgroup), lane.name, std::to_string(lane.pid),
               std::to_string(lane.weight), state_name(lane.state), std::to_string(lane.turns), seconds_text(lane.used),
               seconds_text(lane.waited), std::to_string(lane.overruns), std::to_string(lane.lost)});
  table.print();
}

}  // namespace

void add_lanes(CLI::App& app, Globals& globals) {
  CLI::App* lane = app.add_subcommand("lane", "Show streams of work that take turns on devices: ls");
  lane->require_subcommand(1);
  lane->fallthrough();
  auto device = std::make_shared<std::string>();
  CLI::App* list_command = lane->add_subcommand("ls", "List lanes of the processes that you may look into");
  list_command->add_option("DEVICE", *device, "Only those of this device");
  list_command->callback([=, &globals] { list(globals, *device); });
}

}  // namespace llmosctl
