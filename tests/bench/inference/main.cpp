// SPDX-License-Identifier: MIT
// What tools/bench inference is made of:
//   bench_inference make TYPE PATH [LAYERS]   a model of Llama 3.2 1B's shape with random weights, and its prepared
//   index bench_inference run PATH [OPTION=VALUE]... bench_inference hold PATH [OPTION=VALUE]...
// with the options of RunOptions: threads, prompt, tokens, since, index, huge, probe, kernels.
#include <cerrno>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "llmos.hpp"
#include "synthetic.hpp"
#include "system/error.hpp"

using namespace llmos::bench;

namespace {

void set(RunOptions& options, const std::string& assignment) {
  const size_t equals = assignment.find('=');
  const std::string name = assignment.substr(0, equals);
  const std::string value = equals == std::string::npos ? "" : assignment.substr(equals + 1);
  if (name == "kernels") return (void)(options.kernels = value);
  const unsigned long long number = std::stoull(value);
  if (name == "threads") return (void)(options.threads = static_cast<unsigned>(number));
  if (name == "prompt") return (void)(options.prompt = number);
  if (name == "tokens") return (void)(options.tokens = number);
  if (name == "since") return (void)(options.since = number);
  if (name == "index") return (void)(options.index = number);
  if (name == "huge") return (void)(options.huge = number);
  if (name == "probe") return (void)(options.probe = number);
  llmos::core::fail(EINVAL, "there is no option {}", name);
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (args.size() >= 3 && args[0] == "make") {
    write_synthetic_model(args[1], args[2], args.size() > 3 ? static_cast<uint32_t>(std::stoul(args[3])) : 16);
    return write_index(args[2]), 0;
  }
  if (args.size() >= 2 && (args[0] == "run" || args[0] == "hold")) {
    RunOptions options{.path = args[1]};
    for (size_t i = 2; i < args.size(); i++) set(options, args[i]);
    return args[0] == "run" ? run(options) : hold(options), 0;
  }
  std::fputs(
      "usage: bench_inference make TYPE PATH [LAYERS] | run PATH [OPTION=VALUE]... | hold PATH [OPTION=VALUE]...\n",
      stderr);
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_inference: %s\n", error.what());
  return 1;
}
