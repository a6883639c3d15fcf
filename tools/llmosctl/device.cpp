// SPDX-License-Identifier: MIT
// llmosctl device ls, add, set, rm.
#include <fmt/format.h>

#include <cerrno>
#include <memory>

#include "cli.hpp"
#include "json.hpp"
#include "nvml.hpp"
#include "text.hpp"

namespace llmosctl {
namespace {

struct DeviceOptions {
  std::string id, memory;
  uint32_t slots = 0;
};

std::string memory_text(uint64_t bytes) { return bytes == llmos::Device::unknown ? "unknown" : human_bytes(bytes); }

nlohmann::ordered_json to_json(const llmos::Device& device) {
  nlohmann::ordered_json json = {{"id", device.id}, {"kind", device.kind}, {"slots", device.slots}};
  json["memory"] = nullptr;
  if (device.memory != llmos::Device::unknown) json["memory"] = device.memory;
  json["memory_current"] = device.memory_current;
  return json;
}

void list(const Globals& globals) {
  const std::vector<llmos::Device> devices = llmos::Device::list();
  if (globals.json) {
    auto array = nlohmann::ordered_json::array();
    for (const llmos::Device& device : devices) array.push_back(to_json(device));
    return print(array);
  }
  Table table({"ID", "KIND", "MEMORY", "CHARGED", "SLOTS"}, {2, 3, 4});
  for (const llmos::Device& device : devices)
    table.add({device.id, device.kind, memory_text(device.memory), human_bytes(device.memory_current),
               std::to_string(device.slots)});
  table.print();
}

// "auto": what the driver says; "" : what is right for a device about which nothing was said.
uint64_t memory_of(const DeviceOptions& options, uint64_t otherwise) {
  if (options.memory.empty()) return otherwise;
  if (options.memory == "max") return llmos::Device::unknown;
  if (options.memory == "auto") return Nvml().memory(options.id);
  return parse_bytes(options.memory);
}

// 0 would be a device that nothing fits on; and of a change the library takes it for "as it is".
void check_memory(const std::string& text) {
  if (text != "max" && text != "auto" && parse_bytes(text) == 0)
    throw llmos::Error(EINVAL, "0 is no capacity: write a number of bytes such as 24G, max or auto");
}

// Of a change something must be said.
std::shared_ptr<DeviceOptions> add_options(CLI::App* command, bool is_change) {
  auto options = std::make_shared<DeviceOptions>();
  command->add_option("ID", options->id, "Device")->required();
  CLI::Option_group* facts = command->add_option_group("facts");
  facts->add_option("--memory", options->memory, "Capacity: bytes such as 24G, max (not known), auto (ask NVML)")
      ->check(accepted_by(check_memory));
  facts->add_option("--slots", options->slots, "Lanes that may run at once")->check(CLI::Range(1, 4096));
  if (is_change) facts->require_option(1, 2);
  return options;
}

}  // namespace

void add_devices(CLI::App& app, Globals& globals) {
  CLI::App* device = app.add_subcommand("device", "Show, add, change and remove devices: ls, add, set, rm");
  device->require_subcommand(1);
  device->fallthrough();
  device->add_subcommand("ls", "List devices")->callback([&globals] { list(globals); });

  CLI::App* add = device->add_subcommand("add", "Add a device that no bus tells of");
  auto added = add_options(add, false);
  set_silent(add, globals, [=] {
    llmos::Device::add(added->id, memory_of(*added, llmos::Device::unknown), added->slots ? added->slots : 1);
  });

  CLI::App* set = device->add_subcommand("set", "Say what a device has");
  auto changed = add_options(set, true);
  set_silent(set, globals, [=] { llmos::Device::set(changed->id, memory_of(*changed, 0), changed->slots); });

  auto id = std::make_shared<std::string>();
  CLI::App* remove = device->add_subcommand("rm", "Remove a device that was added");
  remove->add_option("ID", *id, "Device")->required();
  set_silent(remove, globals, [=] { llmos::Device::remove(*id); });
}

}  // namespace llmosctl
