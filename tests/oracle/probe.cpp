// SPDX-License-Identifier: MIT
// The library's insides for the comparisons with other implementations, which are written in Python:
//   probe logits MODEL IDS OUT [KERNELS [BATCH [q8_0]]]   logits of every position, floats
//   probe score MODEL IDS CONTEXT OUT                     log-probability of every token, floats
//   probe dequantize TYPE IN OUT                          floats
//   probe kernels                                         the sets this CPU can run
// IDS is a file of 32-bit token ids, the other files are raw.
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "backend/cpu/dequantize.hpp"
#include "backend/cpu/kernels.hpp"
#include "engine/engine.hpp"
#include "engine/measure.hpp"
#include "system/error.hpp"

using namespace llmos::core;

namespace {

template <typename T>
std::vector<T> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) fail(ENOENT, "cannot read {}", path);
  std::vector<T> content(static_cast<size_t>(file.tellg()) / sizeof(T));
  file.seekg(0).read(reinterpret_cast<char*>(content.data()), static_cast<std::streamsize>(content.size() * sizeof(T)));
  return content;
}

void write_file(const std::string& path, const std::vector<float>& content) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(content.data()),
             static_cast<std::streamsize>(content.size() * sizeof(float)));
  if (!file.flush()) fail(EIO, "cannot write {}", path);
}

std::shared_ptr<Engine> open(const std::string& path, EngineOptions options) {
  options.backend.threads = 2;
  auto bytes = std::make_shared<std::vector<std::byte>>(read_file<std::byte>(path));
  return std::make_shared<Engine>(*bytes, bytes, options);
}

void logits(const std::vector<std::string>& args) {
  EngineOptions options;
  if (args.size() > 3) options.backend.kernels = args[3];
  if (args.size() > 4) options.batch_tokens = std::stoul(args[4]);
  if (args.size() > 5 && args[5] == "q8_0") options.cache_type = CacheType::q8_0;
  const auto engine = open(args[0], options);
  const auto ids = read_file<TokenId>(args[1]);
  std::vector<float> all;
  Sequence sequence(engine);
  const Feed feed{&sequence, ids, Feed::Want::all_logits,
                  [&](size_t, std::span<const float> row) { all.insert(all.end(), row.begin(), row.end()); }};
  engine->step({&feed, 1});
  write_file(args[2], all);
}

void score(const std::vector<std::string>& args) {
  EngineOptions options;
  options.context = std::stoul(args[2]);
  write_file(args[3], llmos::core::score(open(args[0], options), read_file<TokenId>(args[1])));
}

void dequantize(const std::vector<std::string>& args) {
  for (const TensorTypeInfo& info : tensor_types) {
    if (info.name != args[0]) continue;
    const auto bytes = read_file<std::byte>(args[1]);
    std::vector<float> out(bytes.size() / info.block_bytes * info.block_elements);
    llmos::core::dequantize(info.type, bytes.data(), out.size(), out.data());
    return write_file(args[2], out);
  }
  fail(EINVAL, "no such type");
}

}  // namespace

int main(int argc, char** argv) try {
  const std::vector<std::string> args(argv + (argc < 2 ? argc : 2), argv + argc);
  const std::string command = argc < 2 ? "" : argv[1];
  if (command == "logits" && args.size() >= 3) return logits(args), 0;
  if (command == "score" && args.size() == 4) return score(args), 0;
  if (command == "dequantize" && args.size() == 3) return dequantize(args), 0;
  if (command == "kernels")
    for (const Kernels* kernels : usable_kernels()) std::printf("%s\n", std::string(kernels->name).c_str());
  return command == "kernels" ? 0 : 2;
} catch (const std::exception& error) {
  std::fprintf(stderr, "probe: %s\n", error.what());
  return 1;
}
