// SPDX-License-Identifier: MIT
// What the programs that tools/bench runs in a machine have in common.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

namespace llmos::bench {

// benchmark, simulated, kernel, host_load_average, processors: on what anything was measured.
nlohmann::ordered_json conditions(const std::string& benchmark);

// The same for people: "Linux 7.3.0, 2 processors SIMULATED by QEMU: only ratios mean anything".
std::string machine_line();

// Parses the command line and runs; returns the exit status. What is thrown is told.
int run_program(CLI::App& app, int argc, char** argv, const std::function<void()>& run);

}  // namespace llmos::bench
