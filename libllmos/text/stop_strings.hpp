// SPDX-License-Identifier: MIT
// Where generation ends because of what was said.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace llmos::core {

// Finds stop strings in a stream of text, wherever token boundaries fall. Text that may be the beginning of a stop
// string is held back until it is decided.
class StopStrings {
 public:
  StopStrings() = default;
  explicit StopStrings(std::vector<std::string> stops);  // empty strings: EINVAL

  // The text that can be shown now. Once a stop string is complete, stopped() is true and nothing more comes out: not
  // the stop string, nor what follows it.
  std::string push(std::string_view text);
  std::string finish();  // what was still held back, when generation ended otherwise
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace llmos::core
