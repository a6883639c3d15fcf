// SPDX-License-Identifier: MIT
// What "llmosctl top" shows: the machine's devices, groups, lanes and models at one moment, and what changed since one
// before.
#pragma once

#include <chrono>
#include <llmos/llmos.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace llmosctl {

// A group's account of one device.
struct GroupAccount {
  std::string group, device;
  uint64_t memory = 0, memory_max = llmos::Device::unknown;
  uint64_t used_usec = 0, turns = 0;
  uint64_t models = 0;  // bytes of models that are shown as its part, whatever the device
};

struct Snapshot {
  std::chrono::steady_clock::time_point when;
  std::vector<llmos::Device> devices;
  std::vector<GroupAccount> groups;  // those that have something
  std::vector<llmos::LaneInfo> lanes;
  std::vector<std::string> lane_groups;  // the cgroup of each
  std::vector<llmos::ModelInfo> models;
};

// Parts that this user may not see are empty. Throws Error(ENODEV) without the module.
Snapshot take_snapshot();

// Device time per time, in percent: of a device with several slots more than 100. 0 for what was not there before.
double busy_percent(const llmos::Device& device, const Snapshot& before, const Snapshot& now);
double busy_percent(const GroupAccount& account, const Snapshot& before, const Snapshot& now);
double busy_percent(const llmos::LaneInfo& lane, const Snapshot& before, const Snapshot& now);

nlohmann::ordered_json to_json(const Snapshot& before, const Snapshot& now);

// As lines of text: busy ones first, at most so many of each kind.
std::string to_text(const Snapshot& before, const Snapshot& now, size_t lines_of_each);

// One line of a control file, "DEVICE 5" or "DEVICE usage_usec=5 turns=1": the number after `key`, or the first.
uint64_t number_of_line(const std::string& text, const std::string& device, const std::string& key);

}  // namespace llmosctl
