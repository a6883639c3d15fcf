// SPDX-License-Identifier: MIT
// What tools/bench inference is made of:
//   bench_inference make TYPE PATH [LAYERS]   a model of Llama 3.2 1B's shape with random weights: Q4_0 Q4_K Q8_0 F16
//   bench_inference measure PATH THREADS PROMPT TOKENS [KERNELS]
//       one process from attach to the last token, as one line of JSON; the read bandwidth beside it is measured in the
//       same minute over the same bytes, in four streams a thread
//   bench_inference hold PATH                 attaches, writes a token, and waits for the end of standard input
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "engine/engine.hpp"
#include "engine/session.hpp"
#include "support/gguf_writer.hpp"
#include "support/random_weights.hpp"
#include "system/error.hpp"
#include "system/thread_pool.hpp"
#include "text/byte_alphabet.hpp"

using namespace llmos::core;
using llmos::test::GgufWriter;

namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// As many tokens as Llama 3 has, each made by merging two that were there before.
void add_vocabulary(GgufWriter& writer, size_t size) {
  std::vector<std::string> tokens, merges;
  std::set<std::string> known;
  for (int byte = 0; byte < 256; byte++) {
    tokens.emplace_back();
    append_byte_character(static_cast<uint8_t>(byte), tokens.back());
    known.insert(tokens.back());
  }
  std::mt19937_64 random(7);
  while (tokens.size() + 2 < size) {
    const std::string& a = tokens[random() % std::min<size_t>(tokens.size(), 4096)];
    const std::string& b = tokens[random() % std::min<size_t>(tokens.size(), 4096)];
    if (a.size() + b.size() > 16 || !known.insert(a + b).second) continue;
    merges.push_back(a + " " + b);
    tokens.push_back(a + b);
  }
  tokens.insert(tokens.end(), {"<|begin_of_text|>", "<|end_of_text|>"});
  std::vector<int32_t> types(size, 1);
  types[size - 2] = types[size - 1] = 3;
  writer.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.pre", "llama-bpe");
  writer.set_array("tokenizer.ggml.tokens", tokens).set_array("tokenizer.ggml.merges", merges);
  writer.set_array("tokenizer.ggml.token_type", types);
  writer.set("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(size - 2));
  writer.set("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(size - 1));
}

void make(const std::string& type_name, const std::string& path, uint32_t layers) {
  constexpr uint64_t width = 2048, hidden = 8192, keys = 512, vocabulary = 128256;
  const auto found =
      std::find_if(tensor_types.begin(), tensor_types.end(), [&](auto& i) { return i.name == type_name; });
  if (found == tensor_types.end()) fail(EINVAL, "there is no type {}", type_name);
  const TensorType type = found->type;
  const TensorType embedding = type == TensorType::q4_0 || type == TensorType::q4_k ? TensorType::q6_k : type;
  GgufWriter writer;
  writer.set("general.architecture", "llama").set("llama.block_count", layers);
  writer.set("llama.context_length", 131072u).set("llama.embedding_length", static_cast<uint32_t>(width));
  writer.set("llama.feed_forward_length", static_cast<uint32_t>(hidden)).set("llama.attention.head_count", 32u);
  writer.set("llama.attention.head_count_kv", 8u).set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  writer.set("llama.rope.freq_base", 500000.0f).set("llama.rope.dimension_count", 64u);
  writer.set("llama.vocab_size", static_cast<uint32_t>(vocabulary));
  add_vocabulary(writer, vocabulary);

  auto random = std::make_shared<std::mt19937_64>(1);
  const auto matrix = [&](const std::string& name, TensorType kind, uint64_t columns, uint64_t rows) {
    writer.tensor(name, kind, {columns, rows}, [=](std::span<std::byte> out) {
      // One stretch of random weights, repeated: gigabytes of them would take minutes to make.
      const size_t block = tensor_type_info(kind).block_bytes, stretch = std::min(out.size(), block * 65536);
      llmos::test::fill_random(kind, out.first(stretch), *random, 0.02f);
      for (size_t at = stretch; at < out.size(); at += stretch)
        std::copy_n(out.begin(), std::min(stretch, out.size() - at), out.begin() + static_cast<ptrdiff_t>(at));
    });
  };
  const auto ones = [&](const std::string& name) {
    writer.tensor(name, TensorType::f32, {width}, std::vector<float>(width, 1));
  };
  matrix("token_embd.weight", embedding, width, vocabulary);
  ones("output_norm.weight");
  for (uint32_t layer = 0; layer < layers; layer++) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    ones(block + "attn_norm.weight");
    ones(block + "ffn_norm.weight");
    matrix(block + "attn_q.weight", type, width, width);
    matrix(block + "attn_k.weight", type, width, keys);
    matrix(block + "attn_v.weight", type, width, keys);
    matrix(block + "attn_output.weight", type, width, width);
    matrix(block + "ffn_gate.weight", type, width, hidden);
    matrix(block + "ffn_up.weight", type, width, hidden);
    matrix(block + "ffn_down.weight", type, hidden, width);
  }
  writer.write(path);
}

struct File {
  explicit File(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat stat {};
    if (fd < 0 || fstat(fd, &stat) != 0) fail_errno("cannot open " + path);
    size = static_cast<size_t>(stat.st_size);
    data = static_cast<std::byte*>(mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0));
    close(fd);
    if (data == MAP_FAILED) fail_errno("cannot map " + path);
  }
  ~File() { munmap(data, size); }
  std::span<const std::byte> bytes() const { return {data, size}; }

  std::byte* data;
  size_t size;
};

// Read bandwidth in GB/s over the model's bytes.
double bandwidth(std::span<const std::byte> bytes, ThreadPool& pool) {
  const ThreadPool::Burst burst(pool);
  std::vector<uint64_t> sums(pool.size() * 8);
  const size_t part = bytes.size() / pool.size() / 4 / 64 * 64;
  const auto start = Clock::now();
  pool.run([&](unsigned thread) {
    typedef uint64_t Words __attribute__((vector_size(64)));
    Words sum[4] = {};
    const std::byte* first = bytes.data() + thread * 4 * part;
    for (size_t at = 0; at < part; at += 64)
      for (size_t stream = 0; stream < 4; stream++) {
        Words words;
        std::memcpy(&words, first + stream * part + at, sizeof words);
        sum[stream] += words;
      }
    for (int i = 0; i < 8; i++) sums[thread * 8 + i] = sum[0][i] + sum[1][i] + sum[2][i] + sum[3][i];
  });
  const double took = seconds_since(start);
  if (sums[0] == 42) std::fputs("", stderr);  // so that the reading is not left out
  return static_cast<double>(part * 4 * pool.size()) / took / 1e9;
}

size_t status_kib(const char* field) {
  std::ifstream file("/proc/self/smaps_rollup");
  size_t total = 0;
  for (std::string line; std::getline(file, line);)
    if (line.rfind(field, 0) == 0) total += std::strtoull(line.c_str() + line.find(':') + 1, nullptr, 10);
  return total;
}

void measure(const std::string& path, unsigned threads, size_t prompt, size_t tokens, const std::string& kernels) {
  EngineOptions options;
  options.backend.kernels = kernels;
  options.backend.threads = threads;
  auto file = std::make_shared<File>(path);
  const auto start = Clock::now();
  auto engine = std::make_shared<Engine>(file->bytes(), file, options);
  const double attach = seconds_since(start);
  Sequence sequence(engine);
  const auto step = [&](std::span<const TokenId> ids) {
    const auto begin = Clock::now();
    const Feed feed{&sequence, ids, Feed::Want::last_logits, [](size_t, std::span<const float>) {}};
    engine->step({&feed, 1});
    return seconds_since(begin);
  };
  std::vector<TokenId> ids(prompt);
  for (size_t i = 0; i < prompt; i++) ids[i] = static_cast<TokenId>(1000 + i * 37 % 50000);
  const double first = attach + step(std::span(ids).first(1));
  sequence.rewind(0);
  const double prefill = step(ids);
  ThreadPool probe(threads);
  double decode = 0, before = bandwidth(file->bytes(), probe);
  for (size_t i = 0; i < tokens; i++) decode += step(std::span(ids).first(1));
  const double around = (before + bandwidth(file->bytes(), probe)) / 2;
  const double rate = static_cast<double>(tokens) / decode;
  std::printf(
      "{\"attach_s\": %.4f, \"first_token_s\": %.4f, \"prefill_tok_s\": %.2f, \"decode_tok_s\": %.2f, "
      "\"bandwidth_gb_s\": %.2f, \"decode_share\": %.3f, \"private_kib\": %zu, \"pss_kib\": %zu, \"device\": \"%s\"}\n",
      attach, first, static_cast<double>(prompt) / prefill, rate, around,
      rate * static_cast<double>(file->size) / 1e9 / around, status_kib("Anonymous:"), status_kib("Pss:"),
      engine->device().c_str());
}

void hold(const std::string& path) {
  auto file = std::make_shared<File>(path);
  EngineOptions options;
  options.backend.threads = 1;
  auto engine = std::make_shared<Engine>(file->bytes(), file, options);
  Sequence sequence(engine);
  const TokenId token = 1;
  const Feed feed{&sequence, {&token, 1}, Feed::Want::last_logits, [](size_t, std::span<const float>) {}};
  engine->step({&feed, 1});
  std::printf("ready\n");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  std::printf("{\"private_kib\": %zu, \"pss_kib\": %zu}\n", status_kib("Anonymous:"), status_kib("Pss:"));
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> args(argv + 1, argv + argc);
  if (args.size() >= 3 && args[0] == "make")
    return make(args[1], args[2], args.size() > 3 ? static_cast<uint32_t>(std::stoul(args[3])) : 16), 0;
  if ((args.size() == 5 || args.size() == 6) && args[0] == "measure")
    return measure(args[1], static_cast<unsigned>(std::stoul(args[2])), std::stoul(args[3]), std::stoul(args[4]),
                   args.size() == 6 ? args[5] : ""),
           0;
  if (args.size() == 2 && args[0] == "hold") return hold(args[1]), 0;
  std::fputs(
      "usage: bench_inference make TYPE PATH [LAYERS] | measure PATH THREADS PROMPT TOKENS [KERNELS] | hold PATH\n",
      stderr);
  return 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "bench_inference: %s\n", error.what());
  return 1;
}
