// SPDX-License-Identifier: MIT
// What copies, reading, registration and graphs do and cost, and what happens where memory ends.
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "cuda/graph.hpp"
#include "cuda/registration.hpp"
#include "gpu/gpu_check.hpp"
#include "support/small_model.hpp"
#include "support/stories.hpp"
#include "system/fd.hpp"
#include "system/mapping.hpp"

namespace llmos::test::gpu {
namespace {

using namespace core;
using cuda::Address;

double gigabytes(size_t bytes, double time) { return static_cast<double>(bytes) / time / 1e9; }

// A block of the raw device, for what backends do not offer.
class Block {
 public:
  Block(cuda::Device& device, size_t bytes) : device_(device), bytes_(bytes), address(device.allocate(bytes)) {}
  ~Block() { device_.release(address, bytes_); }
  Block(const Block&) = delete;
  Block& operator=(const Block&) = delete;

 private:
  cuda::Device& device_;
  const size_t bytes_;

 public:
  const Address address;
};

// Through the staging ring and back, and beside it what the driver makes of one large piece of pinned memory.
Found copies(Bench& b) {
  const size_t bytes = b.setting.simulated ? 6 << 20 : 512 << 20;
  std::vector<std::byte> host(bytes), back(bytes);
  for (size_t i = 0; i < bytes; i++) host[i] = static_cast<std::byte>(i * 31 + i / 4093);
  const Memory device = b.device->allocate(bytes);
  double up = 0, down = 0;
  {
    const Awake awake(*b.device);
    up = seconds([&] {
      b.device->upload(host.data(), bytes, device.get());
      b.device->synchronize();
    });
    down = seconds([&] { b.device->download(device.get(), bytes, back.data()); });
  }
  require(back == host, "what came back is not what was sent");
  const cuda::Device::Current current(*b.raw);
  const cuda::Driver& driver = b.raw->driver();
  const size_t piece = bytes / 2;
  void* pinned = nullptr;
  cuda::check(driver.allocate_host(&pinned, piece, 0), "pin memory");
  std::memcpy(pinned, host.data(), piece);
  const Block block(*b.raw, piece);
  double raw = 0;
  try {
    raw = seconds([&] {
      cuda::check(driver.upload_async(block.address, pinned, piece, b.raw->stream()), "copy to the device");
      b.raw->synchronize();
    });
  } catch (...) {
    driver.free_host(pinned);
    throw;
  }
  driver.free_host(pinned);
  return {fmt::format("{:.1f} GB/s there and {:.1f} back; {:.1f} of pinned memory", gigabytes(bytes, up),
                      gigabytes(bytes, down), gigabytes(piece, raw)),
          {{"upload_gb_s", gigabytes(bytes, up)},
           {"download_gb_s", gigabytes(bytes, down)},
           {"pinned_upload_gb_s", gigabytes(piece, raw)}}};
}

// What the device reads, by the kernel that decoding lives on, and what it fills, by the driver.
Found bandwidth(Bench& b) {
  const size_t columns = 4096, rows = b.setting.simulated ? 64 : 65536, bytes = rows * columns * 2;
  const int rounds = b.setting.simulated ? 1 : 20;
  const Weight weight(TensorType::f16, 64, columns, b.random);
  std::vector<std::byte> many;
  while (many.size() < bytes) many.insert(many.end(), weight.bytes.begin(), weight.bytes.end());
  TensorView view = weight.view;
  view.shape[1] = rows;
  view.data = many.data();
  double reading = 0;
  {
    const Awake awake(*b.device);
    const TensorView adopted = b.device->adopt(view);
    const OnDevice in(*b.device, 1, columns, normal(columns, b.random)), out(*b.device, 1, rows);
    const auto multiply = [&] { b.device->multiply(in.matrix, {{adopted, nullptr, out.matrix}}); };
    multiply();
    b.device->synchronize();
    reading = seconds([&] {
      for (int i = 0; i < rounds; i++) multiply();
      b.device->synchronize();
    });
  }
  const Block block(*b.raw, bytes);
  const cuda::Device::Current current(*b.raw);
  const double filling = seconds([&] {
    for (int i = 0; i < rounds; i++)
      cuda::check(b.raw->driver().fill_async(block.address, 1, bytes, b.raw->stream()), "fill memory");
    b.raw->synchronize();
  });
  const size_t all = bytes * static_cast<size_t>(rounds);
  b.bandwidth = static_cast<double>(all) / std::min(reading, filling);
  return {fmt::format("{:.0f} GB/s of F16 weights read, {:.0f} GB/s filled", gigabytes(all, reading),
                      gigabytes(all, filling)),
          {{"read_gb_s", gigabytes(all, reading)}, {"fill_gb_s", gigabytes(all, filling)}}};
}

// A file mapped for reading: the model that was given, or one of random bytes.
class ReadOnlyFile {
 public:
  explicit ReadOnlyFile(const Setting& setting) {
    std::string path = setting.model;
    if (path.empty()) {
      char name[] = "/tmp/gpu_check.XXXXXX";
      fd_ = Fd(::mkstemp(name));
      require(fd_.get() >= 0, "no temporary file: {}", std::strerror(errno));
      ::unlink(name);
      std::vector<uint32_t> numbers((setting.simulated ? 256 << 10 : 256 << 20) / sizeof(uint32_t));
      uint32_t state = 1;
      for (uint32_t& number : numbers) number = state = state * 1664525u + 1013904223u;
      const size_t bytes = numbers.size() * sizeof(uint32_t);
      require(::write(fd_.get(), numbers.data(), bytes) == static_cast<ssize_t>(bytes), "the file was not written");
    } else {
      fd_ = Fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
      require(fd_.get() >= 0, "{}: {}", path, std::strerror(errno));
    }
    mapping_ = Mapping(fd_.get(), static_cast<size_t>(::lseek(fd_.get(), 0, SEEK_END)), PROT_READ);
  }
  std::span<const std::byte> bytes() const { return mapping_.bytes(); }

 private:
  Fd fd_;
  Mapping mapping_;
};

// A kernel reads a file's mapping in place, over the bus, and what it read comes back.
Found registration(Bench& b) {
  if (!b.raw->attribute(cuda::read_only_host_register_supported))
    return {"this device cannot read read-only memory of the host: weights are copied to it"};
  const ReadOnlyFile file(b.setting);
  constexpr size_t columns = 4096, row_bytes = columns * sizeof(float);
  const size_t rows = std::min(file.bytes().size(), size_t{1} << 30) / row_bytes, bytes = rows * row_bytes;
  const cuda::Device::Current current(*b.raw);
  double registering = 0, reading = 0;
  std::vector<std::byte> back(bytes);
  std::optional<cuda::Registration> registered;
  registering = seconds([&] { registered.emplace(b.raw, file.bytes()); });
  const Block out(*b.raw, bytes), index(*b.raw, rows * sizeof(uint32_t));
  std::vector<uint32_t> order(rows);
  for (size_t i = 0; i < rows; i++) order[i] = static_cast<uint32_t>(i);
  const cuda::Driver& driver = b.raw->driver();
  cuda::check(driver.upload_async(index.address, order.data(), rows * sizeof(uint32_t), b.raw->stream()), "copy");
  const cuda::GatherArguments arguments{.x = reinterpret_cast<const float*>(registered->on_device(file.bytes().data())),
                                        .rows = reinterpret_cast<const uint32_t*>(index.address),
                                        .out = reinterpret_cast<float*>(out.address),
                                        .columns = columns};
  b.raw->synchronize();
  reading = seconds([&] {
    b.raw->launch(cuda::Kernel::gather, static_cast<unsigned>(rows), 1, cuda::row_threads, &arguments);
    b.raw->synchronize();
  });
  cuda::check(driver.download_async(back.data(), out.address, bytes, b.raw->stream()), "copy from the device");
  b.raw->synchronize();
  require(std::memcmp(back.data(), file.bytes().data(), bytes) == 0, "a kernel read other bytes than are in the file");
  const double rate = gigabytes(file.bytes().size(), registering);
  return {fmt::format("{} registered at {:.1f} GB/s and read in place at {:.1f} GB/s",
                      b.setting.model.empty() ? "a file" : b.setting.model, rate, gigabytes(bytes, reading)),
          {{"register_gb_s", rate}, {"read_in_place_gb_s", gigabytes(bytes, reading)}}};
}

// A graph of many small kernels: what starting it costs the host, and each kernel the device, beside single starts.
Found graphs(Bench& b) {
  constexpr unsigned kernels = 200;
  const unsigned rounds = b.setting.simulated ? 2 : 100;
  const cuda::Device::Current current(*b.raw);
  const cuda::Driver& driver = b.raw->driver();
  const Block numbers(*b.raw, 2 * sizeof(float));
  const float begin[2] = {0, 1};
  float end = 0;
  cuda::check(driver.upload_async(numbers.address, begin, sizeof begin, b.raw->stream()), "copy");
  auto* const x = reinterpret_cast<float*>(numbers.address);
  const cuda::AddArguments arguments{.x = x, .delta = x + 1, .count = 1};
  const auto issue = [&] {
    for (unsigned i = 0; i < kernels; i++) b.raw->launch(cuda::Kernel::add, 1, 1, cuda::row_threads, &arguments);
  };
  double starting = 0, singly = 0;
  std::optional<cuda::Graph> graph;
  try {
    graph.emplace(*b.raw, issue);
  } catch (const cuda::GraphRefused&) {
    fail(EIO, "the driver does not record a graph of {} kernels", kernels);
  }
  const double together = seconds([&] {
    starting = seconds([&] {
      for (unsigned i = 0; i < rounds; i++) graph->launch();
    });
    b.raw->synchronize();
  });
  singly = seconds([&] {
    for (unsigned i = 0; i < rounds; i++) issue();
    b.raw->synchronize();
  });
  cuda::check(driver.download_async(&end, numbers.address, sizeof end, b.raw->stream()), "copy from the device");
  b.raw->synchronize();
  require(end == static_cast<float>(2 * rounds * kernels), "{} kernels added 1 each, and the sum is {}",
          2 * rounds * kernels, end);
  const double start_us = starting / rounds * 1e6, kernel_us = together / (rounds * kernels) * 1e6,
               single_us = singly / (rounds * kernels) * 1e6;
  return {fmt::format("{:.1f} us to start {} kernels, {:.2f} us each; {:.2f} us each without a graph", start_us,
                      kernels, kernel_us, single_us),
          {{"graph_start_us", start_us}, {"graph_kernel_us", kernel_us}, {"single_kernel_us", single_us}}};
}

template <typename Work>
void expect_refusal(const char* what, const Work& work) {
  try {
    work();
  } catch (const Failure& failure) {
    require(failure.code() == ENOMEM, "{}: {}", what, failure.what());
    return;
  }
  fail(EIO, "{} was granted", what);
}

// More than there can be, as much as there is in all, and an engine whose cache is too large; then everything works.
Found end_of_memory(Bench& b) {
  expect_refusal("2^50 bytes", [&] { b.device->allocate(size_t{1} << 50); });
  const cuda::Device::Free memory = b.raw->memory();
  expect_refusal("the whole device", [&] { b.device->allocate(memory.total + 1); });
  EngineOptions options;
  options.backend = b.setting.backend(false);
  options.context = 64;
  options.cache_bytes = memory.total;
  const std::vector<std::byte> file = small_model(2, 4).bytes();
  expect_refusal("a cache as large as the device", [&] { open_engine(file, options); });
  options.cache_bytes = 1 << 20;
  require(!write(open_engine(file, options), "w1", 2).empty(), "an engine wrote nothing afterwards");
  const size_t left = b.raw->memory().free;
  require(left + (16 << 20) >= memory.free, "{} bytes were free before, {} are now", memory.free, left);
  return {"refused three times, and a small engine works afterwards"};
}

}  // namespace

std::span<const Part> parts_of_memory() {
  static constexpr Part parts[] = {
      {"end of device memory", end_of_memory},
      {"copies to and from the device", copies, true},
      {"device memory's bandwidth", bandwidth, true},
      {"read-only registration", registration, true},
      {"start of a graph", graphs, true},
  };
  return parts;
}

}  // namespace llmos::test::gpu
