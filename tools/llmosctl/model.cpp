// SPDX-License-Identifier: MIT
// llmosctl ls, stat, rm, set, evict, verify.
#include <fmt/format.h>

#include <cstdio>
#include <memory>

#include "cli.hpp"
#include "json.hpp"
#include "text.hpp"

namespace llmosctl {
namespace {

using llmos::ModelInfo;

std::string idle_text(const ModelInfo& model) { return model.grants ? "in use" : human_duration(model.idle_ns); }

std::string short_digest(const ModelInfo& model) { return digest_text(model.digest).substr(0, 7 + 12); }

void print_table(const std::vector<ModelInfo>& models, bool full) {
  if (full) {
    Table table({"NAME", "SIZE", "RESIDENT", "HUGE", "STATE", "GRANTS", "IDLE", "OWNER", "GROUP", "MODE", "EVICTABLE",
                 "SIGNED", "DIGEST"},
                {1, 2, 3, 5});
    for (const ModelInfo& model : models)
      table.add({model.name, human_bytes(model.bytes), human_bytes(model.resident), human_bytes(model.huge),
                 state_name(model.state), std::to_string(model.grants), idle_text(model), user_name(model.uid),
                 group_name(model.gid), octal(model.mode),
                 model.evictable ? fmt::format("priority {}", model.priority) : "no", model.is_signed ? "yes" : "no",
                 digest_text(model.digest)});
    return table.print();
  }
  Table table({"NAME", "SIZE", "STATE", "GRANTS", "OWNER", "MODE", "DIGEST", "IDLE"}, {1, 3});
  for (const ModelInfo& model : models)
    table.add({model.name, human_bytes(model.bytes), state_name(model.state), std::to_string(model.grants),
               user_name(model.uid), octal(model.mode), short_digest(model), idle_text(model)});
  table.print();
}

void list(const Globals& globals, bool full) {
  const std::vector<ModelInfo> models = open_store().list();
  if (!globals.json) return print_table(models, full);
  auto array = nlohmann::ordered_json::array();
  for (const ModelInfo& model : models) array.push_back(to_json(model));
  print(array);
}

void print_details(const ModelInfo& model) {
  auto line = [](const char* key, const std::string& value) { fmt::print("{:<10} {}\n", key, value); };
  line("Name", model.name);
  line("Size", fmt::format("{} ({} bytes)", human_bytes(model.bytes), model.bytes));
  line("State", state_name(model.state));
  line("Resident", fmt::format("{}, {} in 2 MiB pages", human_bytes(model.resident), human_bytes(model.huge)));
  line("Grants", std::to_string(model.grants));
  line("Idle", idle_text(model));
  line("Owner",
       fmt::format("{} ({}), group {} ({})", user_name(model.uid), model.uid, group_name(model.gid), model.gid));
  line("Mode", octal(model.mode));
  line("Evictable", model.evictable ? fmt::format("yes, priority {}", model.priority) : "no");
  line("Signed", model.is_signed ? "yes" : "no");
  line("Digest", digest_text(model.digest));
  line("Path", "/sys/fs/llmos/models/" + model.name);
}

void stat(const Globals& globals, const std::string& name) {
  const ModelInfo model = open_store().stat(name);
  if (globals.json)
    print(to_json(model));
  else
    print_details(model);
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

void add_remove(CLI::App& app) {
  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App* command =
      app.add_subcommand("rm", "Remove models: the name is free at once, the memory with the last user");
  command->add_option("NAME", *names, "Models")->required();
  command->callback([=] {
    llmos::Store store = open_store();
    for_each_item(*names, [&](const std::string& name) { store.remove(name); });
  });
}

void add_set(CLI::App& app) {
  auto name = std::make_shared<std::string>();
  auto evictable = std::make_shared<std::optional<bool>>();
  auto priority = std::make_shared<std::optional<int>>();
  CLI::App* command = app.add_subcommand("set", "Change how a model is evicted");
  command->add_option("NAME", *name, "Model")->required();
  CLI::Option_group* changes = command->add_option_group("changes");
  changes->add_flag("--evictable,!--no-evictable", *evictable,
                    "May be dropped under memory pressure while nobody has it open");
  changes->add_option("--priority", *priority, "Idle models with the lowest priority go first");
  changes->require_option(1, 2);
  command->callback([=] { open_store().set(*name, *evictable, *priority); });
}

void add_evict(CLI::App& app) {
  auto names = std::make_shared<std::vector<std::string>>();
  CLI::App* command = app.add_subcommand("evict", "Drop the memory of idle models and keep their names");
  command->add_option("NAME", *names, "Models")->required();
  command->callback([=] {
    llmos::Store store = open_store();
    for_each_item(*names, [&](const std::string& name) { store.evict(name); });
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
  add_remove(app);
  add_set(app);
  add_evict(app);
  add_verify(app, globals);
}

}  // namespace llmosctl
