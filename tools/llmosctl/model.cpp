// SPDX-License-Identifier: MIT
// llmosctl ls, stat, rm, set, evict, verify.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>

#include "cli.hpp"
#include "json.hpp"
#include "text.hpp"

namespace llmosctl {
namespace {

using llmos::ModelInfo;

// A fact about a model, as a column of a table or a line of its own.
struct Column {
  const char* title;
  bool right;      // aligned to the right
  bool everybody;  // known without the right to use /dev/llmos
  std::string (*text)(const ModelInfo&);
};

const Column kName{"NAME", false, true, [](const ModelInfo& model) { return model.name; }};
const Column kSize{"SIZE", true, true, [](const ModelInfo& model) { return human_bytes(model.bytes); }};
const Column kBytes{"BYTES", true, true, [](const ModelInfo& model) { return std::to_string(model.bytes); }};
const Column kResident{"RESIDENT", true, true, [](const ModelInfo& model) { return human_bytes(model.resident); }};
const Column kHuge{"HUGE", true, false, [](const ModelInfo& model) { return human_bytes(model.huge); }};
const Column kState{"STATE", false, true, [](const ModelInfo& model) { return state_name(model.state); }};
const Column kGrants{"GRANTS", true, false, [](const ModelInfo& model) { return std::to_string(model.grants); }};
const Column kIdle{"IDLE", false, false,
                   [](const ModelInfo& model) { return model.grants ? "in use" : human_duration(model.idle_ns); }};
const Column kOwner{"OWNER", false, true, [](const ModelInfo& model) { return user_name(model.uid); }};
const Column kGroup{"GROUP", false, true, [](const ModelInfo& model) { return group_name(model.gid); }};
const Column kMode{"MODE", false, true, [](const ModelInfo& model) { return octal(model.mode); }};
const Column kEvictable{"EVICTABLE", false, false, [](const ModelInfo& model) {
                          return model.evictable ? fmt::format("priority {}", model.priority) : "no";
                        }};
const Column kSigned{"SIGNED", false, false,
                     [](const ModelInfo& model) -> std::string { return model.is_signed ? "yes" : "no"; }};
const Column kShortDigest{"DIGEST", false, true,
                          [](const ModelInfo& model) { return digest_text(model.digest).substr(0, 19); }};
const Column kDigest{"DIGEST", false, true, [](const ModelInfo& model) { return digest_text(model.digest); }};
const Column kPath{"PATH", false, true, [](const ModelInfo& model) { return "/sys/fs/llmos/models/" + model.name; }};

using Columns = std::vector<Column>;

const Columns kShort{kName, kSize, kState, kGrants, kOwner, kMode, kShortDigest, kIdle};
const Columns kLong{kName,  kSize,  kResident, kHuge,      kState,  kGrants, kIdle,
                    kOwner, kGroup, kMode,     kEvictable, kSigned, kDigest};
const Columns kDetails{kName,  kSize,  kBytes, kResident,  kHuge,   kState,  kGrants, kIdle,
                       kOwner, kGroup, kMode,  kEvictable, kSigned, kDigest, kPath};

// Whether this user learns everything about models: the rest say "-" to those who may only read.
bool sees_all(const llmos::Store& store) {
  try {
    store.info();
    return true;
  } catch (const llmos::Error&) {
    return false;
  }
}

std::string text_of(const Column& column, const ModelInfo& model, bool all) {
  return all || column.everybody ? column.text(model) : "-";
}

void print_table(const std::vector<ModelInfo>& models, const Columns& columns, bool all) {
  std::vector<std::string> titles;
  std::vector<size_t> right;
  for (const Column& column : columns) {
    if (column.right) right.push_back(titles.size());
    titles.emplace_back(column.title);
  }
  Table table(titles, right);
  for (const ModelInfo& model : models) {
    std::vector<std::string> row;
    for (const Column& column : columns) row.push_back(text_of(column, model, all));
    table.add(row);
  }
  table.print();
}

void list(const Globals& globals, bool full) {
  const llmos::Store store = open_store();
  const std::vector<ModelInfo> models = store.list();
  if (!globals.json) return print_table(models, full ? kLong : kShort, sees_all(store));
  auto array = nlohmann::ordered_json::array();
  for (const ModelInfo& model : models) array.push_back(to_json(model, sees_all(store)));
  print(array);
}

void stat(const Globals& globals, const std::string& name) {
  const llmos::Store store = open_store();
  const ModelInfo model = store.stat(name);
  if (globals.json) return print(to_json(model, sees_all(store)));
  for (const Column& column : kDetails)
    fmt::print("{:<10} {}\n", column.title, text_of(column, model, sees_all(store)));
}

void verify(const Globals& globals, const std::string& name, const std::string& file) {
  const llmos::Store store = open_store();
  const llmos::Digest digest = file.empty() ? store.verify(name) : store.verify(name, file);
  if (globals.json)
    return print({{"name", name},
                  {"file", file.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(file)},
                  {"digest", digest_text(digest)}});
  fmt::print("{}: {} {}\n", name, file.empty() ? "memory is as it was sealed," : "same content as " + file + ",",
             digest_text(digest));
}

// A prepared index begins so.
constexpr std::string_view kIndexMagic = "LLMOSIDX";

// A model's prepared index goes with it, unless it is to be removed by its own name, or somebody else's, or no index.
void remove_index(llmos::Store& store, const std::string& name) {
  try {
    const llmos::Model index = store.open(name);
    const auto bytes = index.bytes();
    if (bytes.size() > kIndexMagic.size() && std::memcmp(bytes.data(), kIndexMagic.data(), kIndexMagic.size()) == 0)
      store.remove(name);
  } catch (const llmos::Error&) {
  }
}

void remove(const std::vector<std::string>& names) {
  llmos::Store store = open_store();
  for_all_items(names, [&](const std::string& name) {
    store.remove(name);
    const std::string index = name + ".index";
    if (std::find(names.begin(), names.end(), index) == names.end()) remove_index(store, index);
  });
}

void add_list(CLI::App& app, Globals& globals) {
  auto full = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("ls", "List models");
  command->add_flag("-l,--long", *full, "Every column");
  command->callback([=, &globals] { list(globals, *full); });
}

void add_stat(CLI::App& app, Globals& globals) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("stat", "Show one model");
  command->add_option("NAME", *name, "Model")->required();
  command->callback([=, &globals] { stat(globals, *name); });
}

void add_remove(CLI::App& app, const Globals& globals) {
  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand(
      "rm", "Remove models and their indexes: the name is free at once, the memory with the last user");
  command->add_option("NAME", *names, "Models")->required();
  set_silent(command, globals, [=] { remove(*names); });
}

void add_set(CLI::App& app, const Globals& globals) {
  auto name = std::make_shared<std::string>();
  auto evictable = std::make_shared<bool>(false), not_evictable = std::make_shared<bool>(false);
  auto priority = std::make_shared<std::optional<int>>();
  CLI::App* command = app.add_subcommand("set", "Change how a model is evicted");
  command->add_option("NAME", *name, "Model")->required();
  CLI::Option_group* changes = command->add_option_group("changes");
  CLI::Option* flag =
      changes->add_flag("--evictable", *evictable, "May be dropped under memory pressure while nobody has it open");
  changes->add_flag("--no-evictable", *not_evictable, "Is never dropped")->excludes(flag);
  changes->add_option("--priority", *priority, "Idle models with the lowest priority go first");
  changes->require_option(1, 2);
  set_silent(command, globals, [=] {
    open_store().set(*name, *evictable || *not_evictable ? std::optional(*evictable) : std::nullopt, *priority);
  });
}

void add_evict(CLI::App& app, const Globals& globals) {
  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand("evict", "Drop the memory of idle models and keep their names");
  command->add_option("NAME", *names, "Models")->required();
  set_silent(command, globals, [=] {
    llmos::Store store = open_store();
    for_all_items(*names, [&](const std::string& name) { store.evict(name); });
  });
}

void add_verify(CLI::App& app, Globals& globals) {
  auto name = std::make_shared<std::string>();
  auto file = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("verify", "Compare a model's digest with that of a file, or of its memory now");
  command->add_option("NAME", *name, "Model")->required();
  command->add_option("FILE", *file, "File; without it, the model's own memory");
  command->callback([=, &globals] { verify(globals, *name, *file); });
}

}  // namespace

void add_models(CLI::App& app, Globals& globals) {
  add_list(app, globals);
  add_stat(app, globals);
  add_remove(app, globals);
  add_set(app, globals);
  add_evict(app, globals);
  add_verify(app, globals);
}

}  // namespace llmosctl
