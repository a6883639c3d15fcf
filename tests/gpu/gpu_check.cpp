// SPDX-License-Identifier: MIT
// What only a GPU can tell, in one program and one report: whether the kernels compute there what they compute in
// simulation, and what copies, graphs and weights cost. Ends with 0, with 1 when something is wrong, with 77 where
// there is no device.
//
// usage: gpu_check [cuda:N] [--simulated]     --simulated: on the tests' fake driver; small, and nothing is timed
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>

#include "cuda/cuda_backend.hpp"
#include "cuda/matrices.hpp"
#include "support/small_model.hpp"
#include "support/stories.hpp"
#include "system/error.hpp"

namespace llmos::test {
namespace {

using namespace core;

struct Setting {
  std::string device = "cuda:0";
  bool simulated = false;

  // The fake driver has the kernels itself, also where this build has no image.
  BackendOptions backend() const {
    static constexpr char text[] = ".version 8.0\n.target sm_75\n";
    BackendOptions options;
    options.device = device;
    if (simulated) options.cuda_image = std::as_bytes(std::span(text));
    return options;
  }
};

double seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

class Check {
 public:
  explicit Check(const Setting& setting) : setting_(setting) {
    backend_ = make_backend(setting.backend());
    fmt::print("gpu_check: {}{}\n", backend_->description(), setting.simulated ? " (SIMULATED: no GPU ran this)" : "");
  }

  int run() {
    check("products of every weight type", [&] { return products(); });
    check("tensor cores' layout", [&] { return layout(); });
    check("best logits", [&] { return best(); });
    check("architectures beside the CPU", [&] { return architectures(); });
    check("end of device memory", [&] { return out_of_memory(); });
    timed("copies to the device", [&] { return staging(); });
    timed("weights read, one token", [&] { return reading(); });
    timed("a step of a small model, one graph", [&] { return steps(); });
    fmt::print("{}\n", failed_ ? "FAILED" : "passed");
    return failed_ ? 1 : 0;
  }

 private:
  // A check returns what there is to say; what is wrong it throws.
  void check(const char* name, const std::function<std::string()>& work) {
    try {
      fmt::print("  ok      {}: {}\n", name, work());
    } catch (const std::exception& error) {
      fmt::print("  FAILED  {}: {}\n", name, error.what());
      failed_ = true;
    }
    std::fflush(stdout);
  }
  void timed(const char* name, const std::function<std::string()>& work) {
    check(name, [&] {
      const std::string result = work();
      return setting_.simulated ? std::string("ran, simulated, so not timed") : result;
    });
  }
  static void require(bool holds, const std::string& what) {
    if (!holds) fail(EIO, "{}", what);
  }

  std::string products() {
    double worst = 0;
    for (const TensorTypeInfo& type : tensor_types)
      for (const size_t tokens : {1, 5, 33}) {  // each goes through kernels of its own
        const size_t rows = 70, columns = type.block_elements == 1 ? 300 : 768;
        const Weight weight(type.type, rows, columns, random_);
        const Floats x = normal(tokens * columns, random_);
        const Awake awake(*backend_);
        const OnDevice in(*backend_, tokens, columns, x), out(*backend_, tokens, rows);
        backend_->multiply(in.matrix, {{backend_->adopt(weight.view), nullptr, out.matrix}});
        const Floats found = out.read();
        for (size_t i = 0; i < found.size(); i++) {
          const auto [sum, size] = exact(weight, x, i / rows, i % rows);
          const double error = std::fabs(found[i] - sum) / size, bound = tokens < 16 ? 4e-6 : 2e-4;
          require(error < bound, fmt::format("{}: token {} row {} of {} tokens is {} and should be {}", type.name,
                                             i / rows, i % rows, tokens, found[i], sum));
          worst = std::max(worst, error);
        }
      }
    return fmt::format("the largest error is {:.1e} of a sum's size", worst);
  }

  // Small whole numbers: every sum is exact, so any number in a wrong place shows.
  std::string layout() {
    const size_t rows = 96, columns = 256, tokens = 80;
    std::uniform_int_distribution<int> small(-8, 8);
    Weight weight(TensorType::f16, rows, columns, random_);
    for (size_t i = 0; i < rows * columns; i++) {
      weight.floats[i] = static_cast<float>(small(random_));
      const uint16_t half = float_to_half(weight.floats[i]);
      std::memcpy(weight.bytes.data() + 2 * i, &half, 2);
    }
    Floats x(tokens * columns);
    for (float& value : x) value = static_cast<float>(small(random_));
    const Awake awake(*backend_);
    const OnDevice in(*backend_, tokens, columns, x), out(*backend_, tokens, rows);
    backend_->multiply(in.matrix, {{backend_->adopt(weight.view), nullptr, out.matrix}});
    const Floats found = out.read();
    for (size_t i = 0; i < found.size(); i++) {
      const double sum = exact(weight, x, i / rows, i % rows).first;
      require(found[i] == sum,
              fmt::format("token {} row {} is {} and should be {}", i / rows, i % rows, found[i], sum));
    }
    return "every sum is exact";
  }

  std::string best() {
    const size_t columns = setting_.simulated ? 9000 : 262144, count = 40;
    Floats logits = normal(columns, random_, 5);
    for (float& logit : logits) logit = std::round(logit * 64) / 64;  // with ties
    const Awake awake(*backend_);
    const OnDevice in(*backend_, 1, columns, logits);
    const Memory room = backend_->allocate(backend_->best_bytes(1, columns));
    backend_->find_best(in.matrix, count, room.get());
    std::vector<Candidate> found(count);
    backend_->read_best(in.matrix, count, room.get(), found.data());
    std::vector<int32_t> order(columns);
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(
        order, [&](int32_t a, int32_t b) { return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)]; });
    for (size_t i = 0; i < count; i++)
      require(found[i].token == order[i], fmt::format("place {} is {} and should be {}", i, found[i].token, order[i]));
    return fmt::format("{} of {} in order", count, columns);
  }

  std::shared_ptr<Engine> open(const std::vector<std::byte>& file, const std::string& device) const {
    EngineOptions options;
    if (device != "cpu") options.backend = setting_.backend();
    if (device == "cpu") options.backend.kernels = "portable";
    options.backend.threads = 1;
    options.context = 256;
    options.cache_bytes = 4 << 20;
    return open_engine(file, options);
  }

  std::string architectures() {
    float worst = 0;
    for (const SmallArchitecture& architecture : small_architectures) {
      const std::vector<std::byte> file = small_model(11, 64, 1, architecture).bytes();
      const auto cpu = open(file, "cpu"), cuda = open(file, setting_.device);
      const auto tokens = cpu->tokenizer().encode("w1 w7 w3 w50 w2 w9 w12");
      const Floats expected = logits_after(cpu, tokens), found = logits_after(cuda, tokens);
      for (size_t i = 0; i < found.size(); i++) worst = std::max(worst, std::fabs(found[i] - expected[i]));
      require(worst < 0.02f, fmt::format("{}: a logit differs by {}", architecture.name, worst));
      require(write(cuda, "w1 w7 w3", 8) == write(cpu, "w1 w7 w3", 8),
              fmt::format("{} writes another text than on the CPU", architecture.name));
    }
    return fmt::format("the largest difference of a logit is {:.4f}", worst);
  }

  std::string out_of_memory() {
    try {
      backend_->allocate(size_t{1} << 50);
    } catch (const Failure& failure) {
      require(failure.code() == ENOMEM, failure.what());
      backend_->allocate(4096);
      return "refused, and the device goes on";
    }
    fail(EIO, "2^50 bytes were allocated");
  }

  std::string staging() {
    const size_t bytes = setting_.simulated ? 6 << 20 : 512 << 20;
    const std::vector<std::byte> host(bytes, std::byte{1});
    const Memory device = backend_->allocate(bytes);
    const Awake awake(*backend_);
    const double time = seconds([&] {
      backend_->upload(host.data(), bytes, device.get());
      backend_->synchronize();
    });
    return fmt::format("{:.1f} GB/s", static_cast<double>(bytes) / time / 1e9);
  }

  std::string reading() {
    const size_t columns = 4096, rows = setting_.simulated ? 64 : 65536;
    const int rounds = setting_.simulated ? 1 : 20;
    const Weight weight(TensorType::f16, 64, columns, random_);
    std::vector<std::byte> bytes;
    while (bytes.size() < rows * columns * 2) bytes.insert(bytes.end(), weight.bytes.begin(), weight.bytes.end());
    TensorView view = weight.view;
    view.shape[1] = rows;
    view.data = bytes.data();
    const Awake awake(*backend_);
    const TensorView adopted = backend_->adopt(view);
    const OnDevice in(*backend_, 1, columns, normal(columns, random_)), out(*backend_, 1, rows);
    const auto multiply = [&] { backend_->multiply(in.matrix, {{adopted, nullptr, out.matrix}}); };
    multiply();
    backend_->synchronize();
    const double time = seconds([&] {
      for (int i = 0; i < rounds; i++) multiply();
      backend_->synchronize();
    });
    return fmt::format("{:.0f} GB/s of F16 weights", static_cast<double>(bytes.size()) * rounds / time / 1e9);
  }

  std::string steps() {
    const auto engine = open(small_model().bytes(), setting_.device);
    const size_t tokens = setting_.simulated ? 4 : 200;
    GenerateOptions options = greedy(tokens + 2);
    options.ignore_end = true;
    Session session(engine);
    session.start("w1 w2", options);
    session.next();
    session.next();  // records the step
    const double time = seconds([&] {
      for (size_t i = 0; i < tokens; i++) session.next();
    });
    return fmt::format("{:.0f} us", time / static_cast<double>(tokens) * 1e6);
  }

  const Setting setting_;
  std::unique_ptr<Backend> backend_;
  std::mt19937_64 random_{1};
  bool failed_ = false;
};

int check_device(const Setting& setting) {
  std::optional<Check> check;
  try {
    check.emplace(setting);
  } catch (const Failure& failure) {
    fmt::print("gpu_check: {}: {}\n", failure.code() == ENODEV || failure.code() == ENOTSUP ? "skipped" : "FAILED",
               failure.what());
    return failure.code() == ENODEV || failure.code() == ENOTSUP ? 77 : 1;
  }
  return check->run();
}

}  // namespace
}  // namespace llmos::test

int main(int count, char** arguments) {
  llmos::test::Setting setting;
  for (int i = 1; i < count; i++) {
    if (std::strcmp(arguments[i], "--simulated") == 0)
      setting.simulated = true;
    else
      setting.device = arguments[i];
  }
  return llmos::test::check_device(setting);
}
