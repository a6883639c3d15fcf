// SPDX-License-Identifier: MIT
// llmosctl load.
#include <fmt/format.h>

#include <bit>
#include <chrono>
#include <fstream>
#include <iterator>
#include <memory>

#include "cli.hpp"
#include "json.hpp"
#include "progress.hpp"
#include "text.hpp"

namespace llmosctl {
namespace {

struct LoadOptions {
  std::vector<std::string> files;
  std::string name, bytes, mode, owner, group, node, page_size, sign;
  int priority = 0;
  unsigned threads = 0;
  bool evictable = false, replace = false, quiet = false, no_index = false;
};

std::vector<std::byte> read_signature(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  if (!in || bytes.empty()) throw llmos::Error(ENOENT, fmt::format("cannot read a signature from \"{}\"", path));
  const auto* first = reinterpret_cast<const std::byte*>(bytes.data());
  return {first, first + bytes.size()};
}

unsigned page_shift(const std::string& text) {
  const uint64_t bytes = parse_bytes(text);
  if (!std::has_single_bit(bytes))
    throw llmos::Error(EINVAL, fmt::format("\"{}\" is no page size: write 2M, 64K or 4K", text));
  return static_cast<unsigned>(std::countr_zero(bytes));
}

llmos::ModelOptions model_options(const LoadOptions& options) {
  llmos::ModelOptions model;
  model.name = options.name;
  if (!options.bytes.empty()) model.bytes = parse_bytes(options.bytes);
  if (!options.mode.empty()) model.mode = parse_mode(options.mode);
  if (!options.owner.empty()) model.uid = parse_user(options.owner);
  if (!options.group.empty()) model.gid = parse_group(options.group);
  if (!options.node.empty()) model.nodes = parse_nodes(options.node);
  if (!options.page_size.empty()) model.page_shift = page_shift(options.page_size);
  if (!options.sign.empty()) model.signature = read_signature(options.sign);
  model.evictable = options.evictable;
  model.priority = options.priority;
  model.replace = options.replace;
  model.threads = options.threads;
  return model;
}

void report(const llmos::Model& model, bool filled, double seconds) {
  if (!filled)
    return (void)fmt::print("{}: {}, was loaded already, {}\n", model.name(), human_bytes(model.size()),
                            digest_text(model.digest()));
  fmt::print("{}: {} in {:.1f} s ({}/s), {}\n", model.name(), human_bytes(model.size()), seconds,
             human_bytes(static_cast<uint64_t>(static_cast<double>(model.size()) / std::max(seconds, 1e-3))),
             digest_text(model.digest()));
}

// The prepared index: made by who loads, since those who only read may not store it. What is no model to run has none,
// and where it cannot be stored every engine makes its own.
void prepare_beside(const llmos::Store& store, const llmos::Model& model) {
  if (store.kind() != llmos::StoreKind::kernel) return;
  try {
    llmos::prepare(model);
  } catch (const llmos::Error&) {
  }
}

void load(const Globals& globals, const LoadOptions& options) {
  if (options.files.size() > 1 && !(options.name + options.bytes + options.sign).empty())
    throw CLI::ValidationError("--name, --bytes and --sign", "they are about one file, but several are given");
  llmos::ModelOptions model = model_options(options);
  llmos::Store store = open_store();
  auto loaded = nlohmann::ordered_json::array();
  const bool all = for_each_item(options.files, [&](const std::string& file) {
    ProgressBar bar(file, options.quiet || globals.json);
    model.progress = [&bar](const llmos::Progress& progress) {
      bar.show(progress);
      return true;
    };
    const auto start = std::chrono::steady_clock::now();
    const llmos::Model done = store.load(file, model);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    bar.clear();
    if (!options.no_index) prepare_beside(store, done);
    if (globals.json)
      loaded.push_back(to_json(done.stat()));
    else if (!options.quiet)
      report(done, bar.filled(), took.count());
  });
  if (globals.json) print(loaded);  // also when others failed
  if (!all) throw Exit{kFailure};
}

}  // namespace

void add_load(CLI::App& app, Globals& globals) {
  auto options = std::make_shared<LoadOptions>();
  CLI::App* command = app.add_subcommand("load", "Put model files into the kernel");
  command->add_option("FILE", options->files, "Files; - is standard input (needs --name and --bytes)")->required();
  command->add_option("--name", options->name, "Name of the model (default: the file's)");
  command->add_option("--mode", options->mode, "Who may read it, such as 0440 (default: the file's read bits)")
      ->check(accepted_by(parse_mode));
  command->add_option("--owner", options->owner, "User who owns it (default: you)");
  command->add_option("--group", options->group, "Group it belongs to (default: yours)");
  command->add_option("--node", options->node, "NUMA nodes: local, 0, 0,1, interleave, interleave:0,1 (default: local)")
      ->check(accepted_by(parse_nodes));
  command->add_option("--page-size", options->page_size, "Largest page: 2M, 64K, 4K (default: 2M)")
      ->check(accepted_by(page_shift));
  command->add_flag("--evictable", options->evictable, "May be dropped under memory pressure while nobody has it open");
  command->add_option("--priority", options->priority, "Idle models with the lowest priority go first (default: 0)");
  command->add_flag("--replace", options->replace,
                    "Take the place of a model of that name; who has it open keeps the old one");
  command->add_option("--sign", options->sign,
                      "Detached PKCS#7 signature (DER) of the digest, as \"fsverity sign\" makes it");
  command->add_option("--bytes", options->bytes, "Length of the model, where FILE is a stream")
      ->check(accepted_by(parse_bytes));
  command->add_option("--threads", options->threads, "Threads that read (default: chosen)");
  command->add_flag("--no-index", options->no_index, "Do not make the prepared index beside it");
  command->add_flag("-q,--quiet", options->quiet, "Print nothing but errors");
  command->callback([=, &globals] { load(globals, *options); });
}

}  // namespace llmosctl
