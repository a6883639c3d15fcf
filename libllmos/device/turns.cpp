// SPDX-License-Identifier: MIT
#include "device/turns.hpp"

#include <poll.h>

#include <cerrno>

#include "device/device.hpp"
#include "system/error.hpp"

namespace llmos::core {
namespace {

// Between the steps of one text lie a few microseconds of sampling, what the caller does with a token, and on a busy
// machine a slice of another thread. Who is longer away has paused; meanwhile the device is idle at this lane's cost.
constexpr auto kLinger = std::chrono::milliseconds(10);
constexpr int kPollMilliseconds = 50;  // how soon a cancelled step ends that waits for its turn

// As the kernel wants it: what a model may be called, but shorter.
int open_lane(const std::string& device, const std::string& name) {
  llmos_lane_create lane{};
  put_device_id(lane.device, device);
  name.copy(lane.name, sizeof(lane.name) - 1);
  return lane_open(lane);
}

}  // namespace

Turns::Turns(const std::string& device, const std::string& name)
    : lane_(open_lane(device, name)), watcher_([this] { watch(); }) {}

Turns::~Turns() {
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
  }
  changed_.notify_one();
  watcher_.join();
}

// Asks for a turn, or collects it. What the lane had may have been taken away while nobody looked.
bool Turns::try_begin() {
  if (state_ == State::held) return true;
  llmos_lane_turn turn{};
  turn.flags = LLMOS_LANE_NONBLOCK;
  const int code = lane_turn(lane_.get(), LLMOS_LANE_ACQUIRE, turn);
  if (code && code != EAGAIN && code != EBUSY) fail(code, "no turn for the engine: {}", lane_refusal(code));
  state_ = code == EAGAIN ? State::queued : State::held;
  return code != EAGAIN;
}

void Turns::begin(const std::function<bool()>& cancelled) {
  std::unique_lock lock(mutex_);
  busy_ = true;
  try {
    while (!try_begin()) {
      pollfd entry{lane_.get(), POLLIN, 0};
      ::poll(&entry, 1, kPollMilliseconds);
      if (cancelled()) fail(ECANCELED, "cancelled while waiting for a turn on the device");
    }
  } catch (...) {
    give_up();
    busy_ = false;
    throw;
  }
  since_ = Clock::now();
}

void Turns::end() noexcept {
  bool wake;
  {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    llmos_lane_turn turn{};
    turn.flags = LLMOS_LANE_NONBLOCK;
    turn.used_ns = static_cast<uint64_t>(std::chrono::nanoseconds(now - since_).count());
    const int code = lane_turn(lane_.get(), LLMOS_LANE_YIELD, turn);
    state_ = code == 0 ? State::held : code == EAGAIN ? State::queued : State::idle;  // idle: lost, begin() asks anew
    since_ = now;
    busy_ = false;
    wake = watcher_sleeps_;
  }
  if (wake) changed_.notify_one();
}

// Whatever it has: a turn may come between the two.
void Turns::give_up() {
  if (state_ == State::idle) return;
  llmos_lane_turn turn{};
  if (lane_turn(lane_.get(), LLMOS_LANE_CANCEL, turn)) {
    turn = {};
    lane_turn(lane_.get(), LLMOS_LANE_RELEASE, turn);
  }
  state_ = State::idle;
}

void Turns::watch() {
  std::unique_lock lock(mutex_);
  while (!closing_) {
    watcher_sleeps_ = busy_ || state_ == State::idle;
    if (watcher_sleeps_)
      changed_.wait(lock);
    else if (Clock::now() >= since_ + kLinger)
      give_up();
    else
      changed_.wait_until(lock, since_ + kLinger);
  }
}

}  // namespace llmos::core
