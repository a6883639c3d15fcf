// SPDX-License-Identifier: MIT
// Lanes: what a turn costs beside the kernel's own means of waking somebody, and how requests of a trace fare under the
// policies. Run by tools/bench lanes.
#include "lanes.hpp"

#include <cstdio>

#include "program.hpp"
#include "series.hpp"

namespace llmos::bench {
namespace {

void print_costs(const nlohmann::ordered_json& costs) {
  for (const auto& [name, value] : costs["nanoseconds"].items())
    printf("%-44s %s ns\n", name.c_str(), spread_text(value, 1, 0).c_str());
  printf(
      "\nratios, each within a round; a tree of 1000 is three times as deep as one of 10, one of 99990 five times\n");
  for (const auto& [name, value] : costs["ratios"].items())
    printf("%-80s %s\n", name.c_str(), spread_text(value).c_str());
}

std::string name_of(const Replay& replay) { return replay.trace.substr(replay.trace.rfind('/') + 1); }

void print_replay(const nlohmann::ordered_json& replay) {
  printf("%-10s %10s %14s %13s %14s %8s\n", "order", "mean wait", "mean response", "95th percent", "mean slowdown",
         "late");
  for (const auto& [name, one] : replay.items())
    printf("%-10s %8.3f s %12.3f s %11.3f s %14.1f %6.1f %%\n", name.c_str(), one["mean_wait_s"].get<double>(),
           one["mean_response_s"].get<double>(), one["p95_response_s"].get<double>(),
           one["mean_slowdown"].get<double>(), one["late_percent"].get<double>());
}

void run(unsigned rounds, const std::vector<Replay>& replays, bool as_json) {
  nlohmann::ordered_json json = conditions("lanes");
  json["rounds"] = rounds;
  if (rounds) json.update(measure_lane_costs(rounds));
  for (const Replay& replay : replays) json["replay"][name_of(replay)] = replay_trace(replay);
  if (as_json) {
    printf("%s\n", json.dump(2).c_str());
    return;
  }
  printf("%s\n%u rounds: median (lowest-highest)\n", machine_line().c_str(), rounds);
  if (rounds) print_costs(json);
  for (const Replay& replay : replays) {
    printf("\n%s: its first %u requests, scaled to %.0f s of device time at a load of %.2f\n", name_of(replay).c_str(),
           replay.requests, replay.seconds, replay.load);
    print_replay(json["replay"][name_of(replay)]);
  }
}

}  // namespace
}  // namespace llmos::bench

int main(int argc, char** argv) {
  llmos::bench::Replay replay;
  std::vector<std::string> traces;
  unsigned rounds = 5;
  bool json = false;
  CLI::App app("Measure lanes. Run as root in a machine of its own.", "bench_lanes");
  app.add_option("--rounds", rounds, "of costs; 0: none")->capture_default_str();
  app.add_option("--trace", traces, "to replay: a CSV file of the Azure traces; may be repeated");
  app.add_option("--requests", replay.requests)->check(CLI::Range(2, 2000))->capture_default_str();
  app.add_option("--seconds", replay.seconds, "of device time that they need together")->capture_default_str();
  app.add_option("--load", replay.load)->check(CLI::Range(0.1, 2.0))->capture_default_str();
  app.add_flag("--json", json);
  return llmos::bench::run_program(app, argc, argv, [&] {
    std::vector<llmos::bench::Replay> replays;
    for (const auto& trace : traces) replays.push_back(replay), replays.back().trace = trace;
    llmos::bench::run(rounds, replays, json);
  });
}
