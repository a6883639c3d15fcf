// SPDX-License-Identifier: MIT
#include "llmos.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "bandwidth.hpp"
#include "engine/engine.hpp"
#include "engine/prepared.hpp"
#include "process.hpp"
#include "system/error.hpp"

namespace llmos::bench {
namespace {

using namespace llmos::core;

// The index's bond with its model: in a store the kernel knows the digest, here nobody computes it.
constexpr Digest no_digest{};

class File {
 public:
  explicit File(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat stat {};
    if (fd < 0 || fstat(fd, &stat) != 0) fail_errno("cannot open " + path);
    size_ = static_cast<size_t>(stat.st_size);
    data_ = static_cast<std::byte*>(mmap(nullptr, size_, PROT_READ, MAP_SHARED, fd, 0));
    close(fd);
    if (data_ == MAP_FAILED) fail_errno("cannot map " + path);
  }
  ~File() { munmap(data_, size_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  std::byte* data_;
  size_t size_;
};

std::shared_ptr<Engine> attach(const RunOptions& options) {
  EngineOptions chosen;
  chosen.backend.kernels = options.kernels;
  chosen.backend.threads = options.threads;
  const auto file = std::make_shared<File>(options.path);
  std::optional<PreparedIndex> index;
  if (options.index) {
    const auto beside = std::make_shared<File>(options.path + ".index");
    index = attach_index(beside->bytes(), beside, file->bytes(), no_digest);
    if (!index) fail(EBADMSG, "{}.index is not the index of this model; remove both", options.path);
  }
  if (!options.huge) return std::make_shared<Engine>(file->bytes(), file, chosen, std::move(index));
  const auto memory = std::make_shared<HugeMemory>(file->bytes().size());
  std::memcpy(memory->bytes().data(), file->bytes().data(), file->bytes().size());
  return std::make_shared<Engine>(memory->bytes(), memory, chosen, std::move(index));
}

void read(Sequence& sequence, Engine& engine, std::span<const TokenId> tokens) {
  const Feed feed{&sequence, tokens, Feed::Want::last_logits, [](size_t, std::span<const float>) {}};
  engine.step({&feed, 1});
}

std::vector<TokenId> some_tokens(size_t count) {
  std::vector<TokenId> ids(count);
  for (size_t i = 0; i < count; i++) ids[i] = static_cast<TokenId>(1000 + i * 37 % 50000);
  return ids;
}

// All weights are read once for a token, that of the embedding too: it is the output's.
size_t weight_bytes(const Engine& engine) {
  size_t total = 0;
  for (const GgufTensor& tensor : engine.file().tensors()) total += tensor.bytes;
  return total;
}

}  // namespace

void write_index(const std::string& path) {
  const File file(path);
  const std::vector<std::byte> index = make_index(file.bytes(), no_digest);
  std::ofstream out(path + ".index", std::ios::binary);
  out.write(reinterpret_cast<const char*>(index.data()), static_cast<std::streamsize>(index.size()));
  if (!out.flush()) fail(EIO, "cannot write {}.index", path);
}

void run(const RunOptions& options) {
  const double since = static_cast<double>(options.since) * 1e-9;
  const auto engine = attach(options);
  const double attached = now() - since;
  Sequence sequence(engine);
  const std::vector<TokenId> ids = some_tokens(std::max<size_t>(1, options.prompt));
  read(sequence, *engine, std::span(ids).first(1));
  std::printf("{\"attach_s\": %.4f, \"first_token_s\": %.4f", attached, now() - since);
  if (options.tokens > 0) {
    sequence.rewind(0);
    const Stopwatch reading;
    read(sequence, *engine, ids);
    std::printf(", \"prefill_tok_s\": %.2f, \"prefill_cpu\": %.3f", static_cast<double>(ids.size()) / reading.wall(),
                reading.share(options.threads));
    std::optional<ReadProbe> probe;
    if (options.probe) probe.emplace(options.threads).best();
    const Stopwatch writing;
    for (size_t i = 0; i < options.tokens; i++) read(sequence, *engine, std::span(ids).first(1));
    const double rate = static_cast<double>(options.tokens) / writing.wall();
    std::printf(", \"decode_tok_s\": %.2f, \"decode_cpu\": %.3f", rate, writing.share(options.threads));
    if (probe) {
      const double bandwidth = probe->best();
      std::printf(", \"bandwidth_gb_s\": %.2f, \"bandwidth_share\": %.3f", bandwidth,
                  rate * static_cast<double>(weight_bytes(*engine)) / 1e9 / bandwidth);
    }
  }
  std::printf(", \"device\": \"%s\"}\n", engine->device().c_str());
}

void hold(const RunOptions& options) {
  const auto engine = attach(options);
  Sequence sequence(engine);
  const TokenId token = 1;
  read(sequence, *engine, {&token, 1});
  hold_until_told(options.path);
}

}  // namespace llmos::bench
