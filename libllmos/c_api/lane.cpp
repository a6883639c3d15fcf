// SPDX-License-Identifier: MIT
// llmos_lane_*: streams of device work.
#include "c_api/guard.hpp"
#include "device/device.hpp"

using namespace llmos::core;

namespace {

// Often the answer is an error that is none, as EAGAIN: nothing is thrown for it.
int command(int lane, unsigned long request, llmos_lane_turn& turn) {
  const int code = lane_turn(lane, request, turn);
  if (code) set_last_error(lane_refusal(code).c_str());
  return -code;
}

// NULL stands for a turn without wishes.
int ask(int lane, unsigned long request, llmos_lane_turn* turn) {
  return guarded([&] {
    llmos_lane_turn ours{};
    if (turn) ours = sized(turn, "turn");
    const int result = command(lane, request, ours);
    if (turn && !result) give(turn, ours, "turn");
    return result;
  });
}

}  // namespace

int llmos_lane_open(const struct llmos_lane_create* lane) {
  return guarded([&] {
    return lane_open(sized(lane, "lane"));
  });
}

int llmos_lane_acquire(int lane, struct llmos_lane_turn* turn) { return ask(lane, LLMOS_LANE_ACQUIRE, turn); }

int llmos_lane_yield(int lane, struct llmos_lane_turn* turn) { return ask(lane, LLMOS_LANE_YIELD, turn); }

int llmos_lane_release(int lane, uint64_t used_ns) {
  return guarded([&] {
    llmos_lane_turn turn{};
    turn.used_ns = used_ns;
    return command(lane, LLMOS_LANE_RELEASE, turn);
  });
}

int llmos_lane_cancel(int lane) {
  return guarded([&] {
    llmos_lane_turn turn{};
    return command(lane, LLMOS_LANE_CANCEL, turn);
  });
}

int llmos_lane_stat(int lane, struct llmos_lane_stat* stat) {
  return guarded([&] { give(stat, lane_stat(lane), "stat"); });
}

int llmos_lanes(llmos_lane_fn each, void* context) {
  return guarded([&] {
    need(reinterpret_cast<const void*>(each), "each");
    for (const LaneOfProcess& found : lanes())
      if (const int result = each(context, &found.lane, found.pid)) return result;
    return 0;
  });
}
