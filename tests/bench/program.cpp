// SPDX-License-Identifier: MIT
#include "program.hpp"

#include <cpuid.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
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

}  // namespace

nlohmann::ordered_json conditions(const std::string& benchmark) {
  return {{"benchmark", benchmark},
          {"simulated", emulated()},
          {"kernel", release()},
          {"processors", sysconf(_SC_NPROCESSORS_ONLN)}};
}

std::string machine_line() {
  return "Linux " + release() + ", " + std::to_string(sysconf(_SC_NPROCESSORS_ONLN)) + " processors" +
         (emulated() ? " SIMULATED by QEMU: only ratios mean anything" : "");
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
