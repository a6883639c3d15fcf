// SPDX-License-Identifier: MIT
#include "program.hpp"

#include <cpuid.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace llmos::bench {
namespace {

// Under emulation only ratios mean anything.
bool emulated() {
  unsigned a, b = 0, c = 0, d = 0;
  __cpuid(0x40000000, a, b, c, d);
  char vendor[13] = {};
  memcpy(vendor, &b, 4);
  memcpy(vendor + 4, &c, 4);
  memcpy(vendor + 8, &d, 4);
  return !strcmp(vendor, "TCGTCGTCGTCG");
}

std::string release() {
  utsname system;
  uname(&system);
  return system.release;
}

// Of the machine that carries this one, before it was started: what disturbs all measurements. "" when nobody says.
std::string host_load() {
  const char* load = getenv("LLMOS_HOST_LOAD");
  return load ? load : "";
}

}  // namespace

nlohmann::ordered_json conditions(const std::string& benchmark) {
  return {{"benchmark", benchmark},
          {"simulated", emulated()},
          {"kernel", release()},
          {"host_load_average", host_load()},
          {"processors", sysconf(_SC_NPROCESSORS_ONLN)}};
}

std::string machine_line() {
  return "Linux " + release() + ", " + std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) + " processors" +
         (emulated() ? " SIMULATED by QEMU: only ratios mean anything" : "") +
         (host_load().empty() ? "" : "\nload average of the host before it began: " + host_load());
}

int run_program(CLI::App& app, int argc, char** argv, const std::function<void()>& run) {
  try {
    app.parse(argc, argv);
    run();
    return std::fflush(stdout) ? 2 : 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const std::exception& error) {
    fprintf(stderr, "bench: %s\n", error.what());
    return 2;
  }
}

}  // namespace llmos::bench
