// SPDX-License-Identifier: MIT
// What was measured, over all rounds, and how it is told.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "series.hpp"

namespace llmos::bench {

class Results {
 public:
  std::vector<std::string> backings;  // in the order in which they are shown; the first is ours
  nlohmann::ordered_json conditions;  // what it was measured on

  void add(const std::string& backing, const std::string& metric, double value) {
    values_[backing][metric].push_back(value);
  }
  void add_disk(double seconds) { add("disk", "fill", seconds); }
  void add_revoke(unsigned mappers, double seconds) { revoke_[mappers].push_back(seconds); }

  nlohmann::ordered_json json() const;
  std::string table() const;

 private:
  struct Aim {
    std::string what;
    double reached, wanted;
    bool at_least;
    bool met() const { return at_least ? reached >= wanted : reached <= wanted; }
  };
  const Series& series(const std::string& backing, const std::string& metric) const;
  Series ratio(const std::string& backing, const std::string& metric, const std::string& of) const;  // round by round
  Series share_of_disk(const std::string& backing) const;
  std::vector<Aim> aims() const;

  std::map<std::string, std::map<std::string, Series>> values_;
  std::map<unsigned, Series> revoke_;  // by the number of users
};

}  // namespace llmos::bench
