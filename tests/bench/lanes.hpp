// SPDX-License-Identifier: MIT
// What turns cost, and what policies make of a trace of requests.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace llmos::bench {

// nanoseconds: of each operation; ratios: of two of them, round by round. Spreads of the rounds, in one process on one
// device.
nlohmann::ordered_json measure_lane_costs(unsigned rounds);

struct Replay {
  std::string trace;  // a CSV file of the Azure traces: time, prompt tokens, generated tokens
  unsigned requests = 120;
  double seconds = 15;  // of device time that all requests together need
  double load = 0.9;    // of that time per time in which they arrive
};
// For each of fifo, fair, shortest and deadline: waits and responses of the same requests on real lanes of a device
// with one slot, whose work is sleep.
nlohmann::ordered_json replay_trace(const Replay& replay);

}  // namespace llmos::bench
