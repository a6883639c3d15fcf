// SPDX-License-Identifier: MIT
#include <array>
#include <cerrno>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "gpu/gpu_check.hpp"
#include "system/error.hpp"

namespace llmos::test::gpu {
namespace {

using core::Failure;

constexpr char simulated_note[] = " (SIMULATED: no GPU ran this)";

// Lines as they come, or one JSON object at the end.
class Report {
 public:
  explicit Report(const Setting& setting) : setting_(setting) {
    json_["program"] = "gpu_check";
    json_["simulated"] = setting.simulated;
    json_["parts"] = nlohmann::ordered_json::array();
  }

  void begin(const std::string& device) {
    json_["device"] = device;
    say(fmt::format("gpu_check: {}{}", device, setting_.simulated ? simulated_note : ""));
  }

  void add(const Part& part, bool passed, Found found) {
    if (passed && part.timed && setting_.simulated) found = {"ran, simulated, so not timed"};
    nlohmann::ordered_json one{{"name", part.name}, {"passed", passed}, {"text", found.text}};
    for (const auto& [name, value] : found.figures) one["figures"][name] = value;
    json_["parts"].push_back(one);
    say(fmt::format("  {}  {}: {}", passed ? "ok    " : "FAILED", part.name, found.text));
    failed_ |= !passed;
  }

  int end() {
    json_["passed"] = !failed_;
    return finish(failed_ ? "FAILED" : "passed", failed_ ? 1 : 0);
  }

  int end_without_device(const Failure& failure) {
    const bool skipped = failure.code() == ENODEV || failure.code() == ENOTSUP;
    json_[skipped ? "skipped" : "failed"] = failure.what();
    return finish(fmt::format("gpu_check: {}: {}", skipped ? "skipped" : "FAILED", failure.what()), skipped ? 77 : 1);
  }

 private:
  void say(const std::string& line) {
    if (setting_.json) return;
    fmt::print("{}\n", line);
    std::fflush(stdout);
  }
  int finish(const std::string& line, int status) {
    say(line);
    if (setting_.json) {
      fmt::print("{}\n", json_.dump(2));
    }
    return status;
  }

  const Setting& setting_;
  nlohmann::ordered_json json_;
  bool failed_ = false;
};

std::span<const std::byte> image_of(const core::BackendOptions& options) {
  return options.cuda_image.empty() ? cuda::built_in_image() : options.cuda_image;
}

core::BackendOptions portable_cpu() {
  core::BackendOptions options;
  options.kernels = "portable";
  options.threads = 1;
  return options;
}

std::string version(const cuda::Device& device) {
  int number = 0;
  cuda::check(device.driver().driver_version(&number), "ask for the driver's version");
  return fmt::format("{}.{}", number / 1000, number % 1000 / 10);
}

}  // namespace

core::BackendOptions Setting::backend(bool cublas) const {
  static constexpr char text[] = ".version 8.0\n.target sm_75\n";
  core::BackendOptions options;
  options.device = device;
  options.cublas = cublas;
  if (simulated) options.cuda_image = std::as_bytes(std::span(text));
  return options;
}

Bench::Bench(const Setting& given)
    : setting(given),
      device(core::make_backend(given.backend(false))),
      library(core::make_backend(given.backend(true))),
      cpu(core::make_backend(portable_cpu())),
      raw(std::make_shared<cuda::Device>(static_cast<int>(given.number()), image_of(given.backend(false)))) {}

double seconds(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

int check_device(const Setting& setting) {
  Report report(setting);
  std::optional<Bench> bench;
  try {
    bench.emplace(setting);
    report.begin(fmt::format("{}, driver for CUDA {}", bench->device->description(), version(*bench->raw)));
  } catch (const Failure& failure) {
    return report.end_without_device(failure);
  }
  bool any = false;
  for (const auto& parts : {parts_of_numbers(), parts_of_memory(), parts_of_engines()})
    for (const Part& part : parts) {
      if (!setting.only.empty() && setting.only != part.name) continue;
      any = true;
      try {
        report.add(part, true, part.run(*bench));
      } catch (const std::exception& error) {
        report.add(part, false, {error.what()});
      }
    }
  if (!any) report.add({setting.only.c_str(), nullptr}, false, {"there is no such part"});
  return report.end();
}

}  // namespace llmos::test::gpu
