// SPDX-License-Identifier: MIT
// One process of llama.cpp, measured as bench_inference measures llmos:
//   bench_llama_cpp run PATH THREADS PROMPT TOKENS SINCE repacked|mapped
//   bench_llama_cpp hold PATH repacked|mapped
// repacked: as llama.cpp runs by default, quantised weights once more in private memory, in the layout its kernels like
// best. mapped: all weights where they lie in the page cache.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "../process.hpp"
#include "llama.h"

using namespace llmos::bench;

namespace {

struct Llama {
  Llama(const std::string& path, unsigned threads, uint32_t positions, bool repacked) {
    llama_log_set([](ggml_log_level, const char*, void*) {}, nullptr);
    llama_backend_init();
    llama_model_params model_params = llama_model_default_params();
    model_params.use_extra_bufts = repacked;
    model_params.load_mode = LLAMA_LOAD_MODE_MMAP;
    model = llama_model_load_from_file(path.c_str(), model_params);
    if (!model) fail("cannot load the model");
    llama_context_params params = llama_context_default_params();
    params.n_ctx = positions;
    params.n_batch = params.n_ubatch = std::max(512u, std::min(positions, 512u));
    params.n_threads = params.n_threads_batch = static_cast<int32_t>(threads);
    context = llama_init_from_model(model, params);
    if (!context) fail("cannot make a context");
  }

  [[noreturn]] static void fail(const char* what) {
    std::fprintf(stderr, "bench_llama_cpp: %s\n", what);
    std::exit(1);
  }

  void read(std::vector<llama_token> tokens) {
    if (llama_decode(context, llama_batch_get_one(tokens.data(), static_cast<int32_t>(tokens.size()))))
      fail("llama_decode failed");
    llama_get_logits_ith(context, -1);
  }

  void forget() { llama_memory_clear(llama_get_memory(context), true); }

  llama_model* model;
  llama_context* context;
};

std::vector<llama_token> some_tokens(size_t count) {
  std::vector<llama_token> ids(count);
  for (size_t i = 0; i < count; i++) ids[i] = static_cast<llama_token>(1000 + i * 37 % 50000);
  return ids;
}

void run(const std::string& path, unsigned threads, size_t prompt, size_t tokens, uint64_t since_ns, bool repacked) {
  const double since = static_cast<double>(since_ns) * 1e-9;
  Llama llama(path, threads, 4096, repacked);  // llmos's context, too
  const double attached = now() - since;
  llama.read(some_tokens(1));
  std::printf("{\"attach_s\": %.4f, \"first_token_s\": %.4f", attached, now() - since);
  if (tokens > 0) {
    llama.forget();
    const Stopwatch reading;
    llama.read(some_tokens(prompt));
    std::printf(", \"prefill_tok_s\": %.2f, \"prefill_cpu\": %.3f", static_cast<double>(prompt) / reading.wall(),
                reading.share(threads));
    const Stopwatch writing;
    for (size_t i = 0; i < tokens; i++) llama.read(some_tokens(1));
    std::printf(", \"decode_tok_s\": %.2f, \"decode_cpu\": %.3f", static_cast<double>(tokens) / writing.wall(),
                writing.share(threads));
  }
  std::printf("}\n");
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (args.size() == 7 && args[0] == "run") {
    run(args[1], static_cast<unsigned>(std::stoul(args[2])), std::stoul(args[3]), std::stoul(args[4]),
        std::stoull(args[5]), args[6] == "repacked");
    return 0;
  }
  if (args.size() == 3 && args[0] == "hold") {
    Llama llama(args[1], 1, 4096, args[2] == "repacked");
    llama.read(some_tokens(1));
    hold_until_told(args[1]);
    return 0;
  }
  std::fputs(
      "usage: bench_llama_cpp run PATH THREADS PROMPT TOKENS SINCE repacked|mapped | hold PATH repacked|mapped\n",
      stderr);
  return 2;
}
