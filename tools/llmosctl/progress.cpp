// SPDX-License-Identifier: MIT
#include "progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "text.hpp"

namespace llmosctl {
namespace {

constexpr std::chrono::seconds kLineEvery{5};

size_t terminal_width() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

std::string clock_text(uint64_t seconds) {
  if (seconds >= 3600) return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
  return fmt::format("{}:{:02}", seconds / 60, seconds % 60);
}

}  // namespace

ProgressBar::ProgressBar(const std::string& path, bool quiet)
    : label_(path.substr(path.find_last_of('/') + 1)), quiet_(quiet), terminal_(::isatty(STDERR_FILENO)) {}

void ProgressBar::show(const llmos::Progress& progress) {
  filled_ |= progress.phase == llmos::Phase::fill;
  if (quiet_) return;
  if (progress.phase != phase_) {
    phase_ = progress.phase;
    phase_start_ = Clock::now();
  }
  if (terminal_) return draw(progress);
  if (Clock::now() - last_line_ < kLineEvery) return;
  last_line_ = Clock::now();
  fmt::print(stderr, "{}: {}\n", label_, status(progress));
}

// "read  45 %  1.2 of 2.7 GiB  812.0 MiB/s  0:02 left"
std::string ProgressBar::status(const llmos::Progress& progress) const {
  const double seconds = std::chrono::duration<double>(Clock::now() - phase_start_).count();
  const double rate = seconds > 0.2 ? static_cast<double>(progress.done) / seconds : 0;
  std::string text = fmt::format("{} {:>3} %  {} of {}", phase_ == llmos::Phase::fill ? "read" : "digest",
                                 progress.total ? progress.done * 100 / progress.total : 100,
                                 human_bytes(progress.done), human_bytes(progress.total));
  if (rate > 0)
    text += fmt::format("  {}/s  {} left", human_bytes(static_cast<uint64_t>(rate)),
                        clock_text(static_cast<uint64_t>(static_cast<double>(progress.total - progress.done) / rate)));
  return text;
}

void ProgressBar::draw(const llmos::Progress& progress) {
  const std::string text = status(progress);
  const size_t width = terminal_width();
  const size_t used = label_.size() + text.size() + 6;
  std::string bar;
  if (width > used + 10) {
    const size_t length = std::min<size_t>(width - used, 40);
    const size_t full = progress.total ? length * progress.done / progress.total : length;
    bar = fmt::format("[{}{}]  ", std::string(full, '='), std::string(length - full, ' '));
  }
  const std::string line = fmt::format("{}  {}{}", label_, bar, text);
  fmt::print(stderr, "\r{}\x1b[K", line.substr(0, width - 1));
  std::fflush(stderr);
  drawn_ = true;
}

void ProgressBar::clear() {
  if (drawn_) fmt::print(stderr, "\r\x1b[K");
  drawn_ = false;
}

}  // namespace llmosctl
