// SPDX-License-Identifier: MIT
#include "text/stop_strings.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "system/error.hpp"

namespace llmos::core {
namespace {

// Where the last bytes of `text` begin that could become `stop`; the text's size when none do.
size_t partial_match(std::string_view text, std::string_view stop) {
  const size_t longest = std::min(text.size(), stop.size() - 1);
  for (size_t begin = text.size() - longest; begin < text.size(); ++begin)
    if (stop.starts_with(text.substr(begin))) return begin;
  return text.size();
}

}  // namespace

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_)
    if (stop.empty()) fail(EINVAL, "stop strings: an empty one would stop at once");
}

std::string StopStrings::push(std::string_view text) {
  if (stopped_) return {};
  held_ += text;
  size_t ready = std::string::npos;
  for (const std::string& stop : stops_) ready = std::min(ready, held_.find(stop));
  stopped_ = ready != std::string::npos;
  if (!stopped_) {
    ready = held_.size();
    for (const std::string& stop : stops_) ready = std::min(ready, partial_match(held_, stop));
  }
  std::string shown = held_.substr(0, ready);
  held_.erase(0, stopped_ ? held_.size() : ready);
  return shown;
}

std::string StopStrings::finish() { return std::exchange(held_, {}); }

}  // namespace llmos::core
