// SPDX-License-Identifier: MIT
// Memory that holds a model for several processes: llmos beside the four ways there are without it, in one run.
//
// Every round measures everything once, so that what disturbs the machine disturbs all of them; ratios are taken
// within a round. Run by tools/bench model-memory.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "../vm/system.hpp"
#include "backings.hpp"
#include "measure.hpp"
#include "program.hpp"
#include "report.hpp"

namespace llmos::bench {

using guest::MiB;

struct Options {
  uint64_t megabytes = 256;
  unsigned rounds = 5;
  bool json = false;
  std::string folder = "/scratch";
};

static constexpr unsigned mapper_counts[] = {1, 4, 16};
static constexpr uint64_t pressed_bytes = 32 * MiB;  // are used after pressure: coming from the disk again takes long

static Source make_source(const Options& options) {
  Source source = {options.folder + "/bench-model", options.megabytes * MiB};
  const guest::Fd fd(open(source.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (fd < 0) guest::throw_errno(source.path);
  guest::write_pattern(fd, source.bytes);
  if (fsync(fd)) guest::throw_errno("fsync");
  return source;
}

// `all` in another order each time: what comes first finds the machine in another state than what comes last.
static void run_round(Results& results, std::vector<Backing*> all, unsigned round, const Source& source) {
  const Backing& llmos = *all.front();
  std::ranges::rotate(all, all.begin() + round % all.size());
  results.add_disk(measure_disk(source));
  for (Backing* const backing : all) {
    const Load load = backing->load(source);
    results.add(backing->name(), "fill", load.fill);
    results.add(backing->name(), "load", load.total);
  }
  const auto uses = measure_use(all, source.bytes, 7);
  press_memory();
  const auto pressed = measure_use(all, std::min(source.bytes, pressed_bytes), 1);
  for (size_t i = 0; i < all.size(); i++) {
    const std::string name = all[i]->name();
    results.add(name, "touch", uses[i].all);
    results.add(name, "fault", uses[i].all - uses[i].again);
    results.add(name, "faults", uses[i].faults);
    results.add(name, "page_tables", uses[i].page_tables);
    results.add(name, "pressed_first", pressed[i].first);
    results.add(name, "pressed_all", pressed[i].all);
  }
  for (const unsigned mappers : mapper_counts)
    results.add_revoke(mappers, measure_revoke(llmos, source.bytes, mappers));
  for (Backing* const backing : all) {
    const double begin = now();
    backing->drop();
    results.add(backing->name(), "drop", now() - begin);
    backing->forget();
  }
}

static Results measure(const Options& options) {
  Results results;
  const Source source = make_source(options);
  const auto all = all_backings(source);
  std::vector<Backing*> pointers;
  for (const auto& backing : all) {
    results.backings.push_back(backing->name());
    pointers.push_back(backing.get());
  }
  results.conditions = conditions("model-memory");
  results.conditions["bytes"] = source.bytes;
  results.conditions["rounds"] = options.rounds;
  Results warm_up;
  run_round(warm_up, pointers, 0, source);
  for (unsigned round = 0; round < options.rounds; round++) {
    run_round(results, pointers, round, source);
    results.conditions["load_average"].push_back(load_average());
    fprintf(stderr, "round %u of %u\n", round + 1, options.rounds);
  }
  return results;
}

static void run(const Options& options) {
  const Results results = measure(options);
  if (options.json) {
    printf("%s\n", results.json().dump(2).c_str());
    return;
  }
  printf("%s\na model of %lu MiB, %u rounds: median (lowest-highest)\n", machine_line().c_str(), options.megabytes,
         options.rounds);
  printf("load average after each round: %s\n%s", results.conditions["load_average"].dump().c_str(),
         results.table().c_str());
}

}  // namespace llmos::bench

int main(int argc, char** argv) {
  llmos::bench::Options options;
  CLI::App app("Measure memory that holds a model for several processes. Run as root in a machine of its own.",
               "bench_model_memory");
  app.add_option("--size", options.megabytes, "of the model, in MiB; even")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  app.add_option("--rounds", options.rounds)->check(CLI::Range(1, 1000))->capture_default_str();
  app.add_option("--folder", options.folder, "on the disk to load from")->capture_default_str();
  app.add_flag("--json", options.json);
  return llmos::bench::run_program(app, argc, argv, [&] {
    options.megabytes += options.megabytes % 2;
    llmos::bench::run(options);
  });
}
