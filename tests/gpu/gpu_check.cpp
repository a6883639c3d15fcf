// SPDX-License-Identifier: MIT
// What only a GPU can tell, in one program and one report: whether the kernels compute there what they compute in
// simulation, and what copies, memory, graphs and a real model's tokens cost. Ends with 0, with 1 when something is
// wrong, with 77 where there is no device.
#include "gpu/gpu_check.hpp"

#include <cstring>

namespace {

constexpr char usage[] =
    "usage: gpu_check [cuda:N] [--model FILE] [--json] [--only PART] [--simulated]\n"
    "  --model FILE  also a real model: beside the CPU, and its speed\n"
    "  --json        one JSON object instead of lines\n"
    "  --only PART   one part, by its name\n"
    "  --simulated   on the tests' fake driver; small, and nothing is timed\n";

}  // namespace

int main(int count, char** arguments) {
  llmos::test::gpu::Setting setting;
  for (int i = 1; i < count; i++) {
    const std::string argument = arguments[i];
    const bool has_value = i + 1 < count;
    if (argument == "--simulated")
      setting.simulated = true;
    else if (argument == "--json")
      setting.json = true;
    else if (argument == "--model" && has_value)
      setting.model = arguments[++i];
    else if (argument == "--only" && has_value)
      setting.only = arguments[++i];
    else if (argument.starts_with("cuda:"))
      setting.device = argument;
    else {
      fmt::print(stderr, "{}", usage);
      return 2;
    }
  }
  return llmos::test::gpu::check_device(setting);
}
