// SPDX-License-Identifier: MIT
// How far a load is: a bar on a terminal, a line every few seconds otherwise. On standard error.
#pragma once

#include <chrono>
#include <llmos/llmos.hpp>
#include <string>

namespace llmosctl {

class ProgressBar {
 public:
  ProgressBar(const std::string& path, bool quiet);
  ~ProgressBar() { clear(); }

  void show(const llmos::Progress& progress);
  void clear();                            // takes the bar off the terminal
  bool filled() const { return filled_; }  // whether anything was read into a model

 private:
  using Clock = std::chrono::steady_clock;

  std::string status(const llmos::Progress& progress) const;
  void draw(const llmos::Progress& progress);

  const std::string label_;
  const bool quiet_;
  const bool terminal_;
  bool drawn_ = false;
  bool filled_ = false;
  llmos::Phase phase_{};
  Clock::time_point phase_start_{};
  Clock::time_point last_line_ = Clock::now();
};

}  // namespace llmosctl
