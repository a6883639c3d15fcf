// SPDX-License-Identifier: MIT
// The machine that is fuzzed: what the calls find there, and what must be true of it when they have ended.
#pragma once

#include <string>
#include <vector>

#include "world.hpp"

namespace llmos::fuzz {

class Machine {
 public:
  explicit Machine(const Options& options);
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // Undoes what the calls did; returns what is wrong. Once all processes have ended.
  std::vector<std::string> check();
  const PolicyPins& policies() const { return policies_; }

 private:
  void prepare_files();
  void prepare_cgroups();
  void prepare_faults();
  void prepare_lanes();
  void unmount();
  void allow_all(const std::string& name);
  void check_model(const std::string& name);
  void check_models();
  void check_device(const std::string& id);
  void check_devices();
  void check_policies();
  void check_memory();
  template <typename... Parts>
  void problem(const Parts&... parts);

  const Options& options_;
  PolicyPins policies_;
  int64_t unaccounted_;
  std::vector<std::string> problems_;
};

}  // namespace llmos::fuzz
