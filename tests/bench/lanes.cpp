// SPDX-License-Identifier: MIT
// Lanes: what a turn costs beside the kernel's own means of waking somebody, and how requests of a trace fare under the
// policies. Run by tools/bench lanes.
#include "lanes.hpp"

#include <sys/utsname.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "emulated.hpp"

namespace llmos::bench {
namespace {

void print_costs(const nlohmann::ordered_json& costs) {
  const double lane = costs["lane, acquire + release"];
  printf("%-44s %10s  %s\n", "", "ns", "of acquire + release");
  for (const auto& [name, value] : costs.items())
    printf("%-44s %10.0f  %.2f\n", name.c_str(), value.get<double>(), value.get<double>() / lane);
}

void print_replay(const nlohmann::ordered_json& replay) {
  printf("%-10s %10s %14s %13s %14s %8s\n", "order", "mean wait", "mean response", "95th percent", "mean slowdown",
         "late");
  for (const auto& [name, one] : replay.items())
    printf("%-10s %8.3f s %12.3f s %11.3f s %14.1f %6.1f %%\n", name.c_str(), one["mean_wait_s"].get<double>(),
           one["mean_response_s"].get<double>(), one["p95_response_s"].get<double>(),
           one["mean_slowdown"].get<double>(), one["late_percent"].get<double>());
}

int run(unsigned rounds, std::vector<Replay> replays, bool as_json) {
  utsname system;
  uname(&system);
  nlohmann::ordered_json json = {
      {"benchmark", "lanes"}, {"simulated", emulated()}, {"kernel", system.release}, {"rounds", rounds}};
  if (rounds) json["nanoseconds"] = measure_lane_costs(rounds);
  for (const Replay& replay : replays)
    json["replay"][replay.trace.substr(replay.trace.rfind('/') + 1)] = replay_trace(replay);
  if (as_json) return printf("%s\n", json.dump(2).c_str()) < 0;
  printf("Linux %s%s, %u rounds: medians\n", system.release,
         emulated() ? " SIMULATED by QEMU: only ratios mean anything" : "", rounds);
  if (rounds) print_costs(json["nanoseconds"]);
  for (const Replay& replay : replays) {
    printf("\n%s: its first %u requests, scaled to %.0f s of device time at a load of %.2f\n",
           replay.trace.substr(replay.trace.rfind('/') + 1).c_str(), replay.requests, replay.seconds, replay.load);
    print_replay(json["replay"][replay.trace.substr(replay.trace.rfind('/') + 1)]);
  }
  return 0;
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
  try {
    app.parse(argc, argv);
    std::vector<llmos::bench::Replay> replays;
    for (const auto& trace : traces) replays.push_back(replay), replays.back().trace = trace;
    return llmos::bench::run(rounds, replays, json);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const std::exception& error) {
    fprintf(stderr, "bench: %s\n", error.what());
    return 2;
  }
}
