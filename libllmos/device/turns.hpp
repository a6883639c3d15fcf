// SPDX-License-Identifier: MIT
// An engine's turns on a device that it shares with other processes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "system/fd.hpp"

namespace llmos::core {

// A lane whose turns are taken around steps. After a step its turn goes on while the slice lasts, and then it is queued
// again at once: a lane that asked for each step anew would take turns with the others one by one, whatever its weight.
// What is not used within a moment is given up by a thread of its own.
class Turns {
 public:
  // ENODEV without the module or the device, EACCES; see lane_open().
  Turns(const std::string& device, const std::string& name);
  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;
  ~Turns();

  // Before a step: waits for a turn. ECANCELED when `cancelled` says so meanwhile; ENODEV when the device is gone.
  void begin(const std::function<bool()>& cancelled);
  // After it: reports the time since begin().
  void end() noexcept;

 private:
  enum class State { idle, queued, held };
  using Clock = std::chrono::steady_clock;

  bool try_begin();  // with the mutex held
  void give_up();
  void watch();

  const Fd lane_;
  std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::idle;
  bool busy_ = false;  // a step is under way, or waits
  bool closing_ = false;
  bool watcher_sleeps_ = false;  // until it is told; else it looks by itself in a moment
  Clock::time_point since_;      // begin or end of the last step
  std::thread watcher_;
};

}  // namespace llmos::core
