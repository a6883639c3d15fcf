// SPDX-License-Identifier: MIT
#include "snapshot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "cgroups.hpp"
#include "cli.hpp"
#include "json.hpp"
#include "text.hpp"

namespace llmosctl {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

const fs::path kGroups = "/sys/fs/llmos/groups";

std::string read_or_nothing(const llmos::Group& group, const char* control) {
  try {
    return group.read(control);
  } catch (const llmos::Error&) {  // the root has no limits; a cgroup may be gone
    return "";
  }
}

void add_group(const std::string& path, const std::vector<llmos::Device>& devices, std::vector<GroupAccount>& groups) {
  const llmos::Group group(path);
  const std::string current = read_or_nothing(group, "memory.current"), max = read_or_nothing(group, "memory.max"),
                    time = read_or_nothing(group, "time.stat"), models = read_or_nothing(group, "models.current");
  for (const llmos::Device& device : devices) {
    GroupAccount account{path.empty() ? "/" : path, device.id};
    account.memory = number_of_line(current, device.id, "");
    if (!max.empty()) account.memory_max = number_of_line(max, device.id, "");
    account.used_usec = number_of_line(time, device.id, "usage_usec=");
    account.turns = number_of_line(time, device.id, "turns=");
    account.models = std::strtoull(models.c_str(), nullptr, 10);
    if (account.memory || account.used_usec) groups.push_back(account);
  }
}

std::vector<GroupAccount> read_groups(const std::vector<llmos::Device>& devices) {
  std::vector<GroupAccount> groups;
  std::error_code error;
  add_group("", devices, groups);
  fs::recursive_directory_iterator entry(kGroups, fs::directory_options::skip_permission_denied, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    std::error_code gone;
    if (entry->is_directory(gone)) add_group(entry->path().lexically_relative(kGroups), devices, groups);
  }
  return groups;
}

template <typename Read>
void try_to_read(Read read) {
  try {
    read();
  } catch (const llmos::Error& error) {
    if (error.code() != EACCES && error.code() != EPERM && error.code() != ENODEV) throw;
  }
}

// ---- rates ----

double percent(double more_ns, const Snapshot& before, const Snapshot& now) {
  const double passed = std::chrono::duration<double, std::nano>(now.when - before.when).count();
  return passed > 0 && more_ns > 0 ? 100 * more_ns / passed : 0;
}

template <typename Item, typename Same>
const Item* find(const std::vector<Item>& items, Same same) {
  const auto found = std::find_if(items.begin(), items.end(), same);
  return found == items.end() ? nullptr : &*found;
}

double as_double(uint64_t now, uint64_t before) { return now > before ? static_cast<double>(now - before) : 0; }

// ---- text ----

// The indices of `items`, those with the highest rate first.
template <typename Items>
std::vector<size_t> busiest(const Items& items, const Snapshot& before, const Snapshot& now, size_t limit) {
  std::vector<std::pair<double, size_t>> order;
  for (size_t i = 0; i < items.size(); i++) order.emplace_back(-busy_percent(items[i], before, now), i);
  std::sort(order.begin(), order.end());
  std::vector<size_t> indices;
  for (size_t i = 0; i < std::min(limit, order.size()); i++) indices.push_back(order[i].second);
  return indices;
}

std::string bytes_of(uint64_t bytes, uint64_t limit) {
  return limit == llmos::Device::unknown ? human_bytes(bytes) : human_bytes(bytes) + " / " + human_bytes(limit);
}

std::string percent_text(double percent) { return fmt::format("{:.1f}", percent); }

std::string devices_text(const Snapshot& before, const Snapshot& now, size_t limit) {
  Table table({"DEVICE", "KIND", "MEMORY", "BUSY %", "TURNS / SLOTS", "WAITING", "OVERRUNS", "LOST"},
              {2, 3, 4, 5, 6, 7});
  for (const size_t i : busiest(now.devices, before, now, limit)) {
    const llmos::Device& device = now.devices[i];
    table.add({device.id, device.kind, bytes_of(device.memory_current, device.memory),
               percent_text(busy_percent(device, before, now)), fmt::format("{} / {}", device.running, device.slots),
               std::to_string(device.waiting), std::to_string(device.overruns), std::to_string(device.lost)});
  }
  return table.text();
}

std::string groups_text(const Snapshot& before, const Snapshot& now, size_t limit) {
  Table table({"GROUP", "DEVICE", "MEMORY", "BUSY %", "TURNS", "MODELS"}, {2, 3, 4, 5});
  for (const size_t i : busiest(now.groups, before, now, limit)) {
    const GroupAccount& account = now.groups[i];
    table.add({account.group, account.device, bytes_of(account.memory, account.memory_max),
               percent_text(busy_percent(account, before, now)), std::to_string(account.turns),
               human_bytes(account.models)});
  }
  return table.text();
}

std::string lanes_text(const Snapshot& before, const Snapshot& now, size_t limit) {
  Table table({"LANE", "DEVICE", "GROUP", "NAME", "PID", "STATE", "BUSY %", "TURNS", "USED"}, {0, 4, 6, 7, 8});
  for (const size_t i : busiest(now.lanes, before, now, limit)) {
    const llmos::LaneInfo& lane = now.lanes[i];
    table.add({std::to_string(lane.id), lane.device, now.lane_groups[i], lane.name, std::to_string(lane.pid),
               state_name(lane.state), percent_text(busy_percent(lane, before, now)), std::to_string(lane.turns),
               seconds_text(lane.used)});
  }
  return table.text();
}

std::string models_text(const Snapshot& now, size_t limit) {
  Table table({"MODEL", "SIZE", "RESIDENT", "STATE", "GRANTS"}, {1, 2, 4});
  for (size_t i = 0; i < std::min(limit, now.models.size()); i++) {
    const llmos::ModelInfo& model = now.models[i];
    table.add({model.name, human_bytes(model.bytes), human_bytes(model.resident), state_name(model.state),
               std::to_string(model.grants)});
  }
  return table.text();
}

}  // namespace

uint64_t number_of_line(const std::string& text, const std::string& device, const std::string& key) {
  std::istringstream lines(text);
  for (std::string line, word; std::getline(lines, line);) {
    std::istringstream words(line);
    if (!(words >> word) || word != device) continue;
    while (words >> word) {
      if (!word.starts_with(key)) continue;
      const std::string value = word.substr(key.size());
      return value == "max" ? llmos::Device::unknown : std::strtoull(value.c_str(), nullptr, 10);
    }
  }
  return 0;
}

Snapshot take_snapshot() {
  Snapshot snapshot;
  snapshot.devices = llmos::Device::list();
  snapshot.when = std::chrono::steady_clock::now();
  snapshot.groups = read_groups(snapshot.devices);
  try_to_read([&] { snapshot.lanes = llmos::Lane::list(); });
  try_to_read([&] { snapshot.models = open_store().list(); });
  const Cgroups cgroups;
  for (const llmos::LaneInfo& lane : snapshot.lanes) snapshot.lane_groups.push_back(cgroups.name(lane.cgroup));
  return snapshot;
}

double busy_percent(const llmos::Device& device, const Snapshot& before, const Snapshot& now) {
  const auto* old = find(before.devices, [&](const auto& other) { return other.id == device.id; });
  return old ? percent(as_double(device.used_ns, old->used_ns), before, now) : 0;
}

double busy_percent(const GroupAccount& account, const Snapshot& before, const Snapshot& now) {
  const auto* old = find(
      before.groups, [&](const auto& other) { return other.group == account.group && other.device == account.device; });
  return old ? percent(1000 * as_double(account.used_usec, old->used_usec), before, now) : 0;
}

double busy_percent(const llmos::LaneInfo& lane, const Snapshot& before, const Snapshot& now) {
  const auto* old = find(before.lanes, [&](const auto& other) { return other.id == lane.id; });
  return old ? percent(static_cast<double>((lane.used - old->used).count()), before, now) : 0;
}

ordered_json to_json(const Snapshot& before, const Snapshot& now) {
  ordered_json json;
  for (const char* kind : {"devices", "groups", "lanes", "models"}) json[kind] = ordered_json::array();
  for (const llmos::Device& device : now.devices) {
    ordered_json one = {{"id", device.id},
                        {"kind", device.kind},
                        {"memory", nullptr},
                        {"memory_current", device.memory_current},
                        {"slots", device.slots},
                        {"running", device.running},
                        {"waiting", device.waiting},
                        {"used_ns", device.used_ns},
                        {"overruns", device.overruns},
                        {"lost", device.lost},
                        {"busy_percent", busy_percent(device, before, now)}};
    if (device.memory != llmos::Device::unknown) one["memory"] = device.memory;
    json["devices"].push_back(one);
  }
  for (const GroupAccount& account : now.groups) {
    ordered_json one = {{"group", account.group},           {"device", account.device},
                        {"memory_current", account.memory}, {"memory_max", nullptr},
                        {"used_usec", account.used_usec},   {"turns", account.turns},
                        {"models_current", account.models}, {"busy_percent", busy_percent(account, before, now)}};
    if (account.memory_max != llmos::Device::unknown) one["memory_max"] = account.memory_max;
    json["groups"].push_back(one);
  }
  for (size_t i = 0; i < now.lanes.size(); i++) {
    json["lanes"].push_back(to_json(now.lanes[i], now.lane_groups[i]));
    json["lanes"].back()["busy_percent"] = busy_percent(now.lanes[i], before, now);
  }
  for (const llmos::ModelInfo& model : now.models) json["models"].push_back(to_json(model));
  return json;
}

std::string to_text(const Snapshot& before, const Snapshot& now, size_t lines_of_each) {
  std::string text = devices_text(before, now, lines_of_each);
  if (!now.groups.empty()) text += "\n" + groups_text(before, now, lines_of_each);
  if (!now.lanes.empty()) text += "\n" + lanes_text(before, now, lines_of_each);
  if (!now.models.empty()) text += "\n" + models_text(now, lines_of_each);
  return text;
}

}  // namespace llmosctl
