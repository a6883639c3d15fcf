// SPDX-License-Identifier: MIT
// gpu_check itself, on the fake driver: it passes, says so in both forms, and each part notices what it is there for.
#include "cuda/simulated.hpp"

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "fake_cuda/kernels.hpp"
#include "fake_cuda/library.hpp"
#include "gpu/gpu_check.hpp"

namespace llmos::test::gpu {
namespace {

constexpr char all[] = "";

class GpuCheck : public Simulated {
 protected:
  void SetUp() override { reset(); }
  void TearDown() override {
    EXPECT_EQ(fake_cuda::ledger(), fake_cuda::Ledger{});
    EXPECT_EQ(fake_cuda::cublas_lt_objects(), 0u);
  }
  static void reset(const std::string& idle = "") { fake_cuda::reset({.version = 13000, .idle = idle}); }

  static Setting setting(const std::string& part) {
    Setting setting;
    setting.simulated = true;
    setting.json = true;
    setting.only = part;
    const std::string model = data_path("models/stories260K-F16.gguf").string();
    if (std::filesystem::exists(model)) setting.model = model;
    return setting;
  }
  static nlohmann::json run(const std::string& part, int expected_status) {
    Setting with = setting(part);
    testing::internal::CaptureStdout();
    const int status = check_device(with);
    const std::string printed = testing::internal::GetCapturedStdout();
    EXPECT_EQ(status, expected_status) << part << ": " << printed;
    return nlohmann::json::parse(printed);
  }
  static std::vector<std::string> names() {
    std::vector<std::string> names;
    for (const auto& parts : {parts_of_numbers(), parts_of_memory(), parts_of_engines()})
      for (const Part& part : parts) names.push_back(part.name);
    return names;
  }
};

TEST_F(GpuCheck, PassesAndRunsEveryKernel) {
  const nlohmann::json report = run(all, 0);
  EXPECT_TRUE(report["passed"]);
  EXPECT_TRUE(report["simulated"]);
  EXPECT_EQ(report["device"], "CUDA, simulated GPU, driver for CUDA 13.0");
  EXPECT_EQ(report["parts"].size(), names().size());
  for (const auto& part : report["parts"]) {
    EXPECT_TRUE(part["passed"]) << part;
    EXPECT_FALSE(part["text"].get<std::string>().find("/s") != std::string::npos)
        << "a simulation has no speed: " << part;
  }
  const auto launched = fake_cuda::take_launches();
  const std::set<std::string> kernels(launched.begin(), launched.end());
#define EXPECT_KERNEL(name, threads, Arguments) EXPECT_TRUE(kernels.contains("llmos_" #name)) << #name;
  LLMOS_CUDA_KERNELS(EXPECT_KERNEL)
#undef EXPECT_KERNEL
}

TEST_F(GpuCheck, SkipsWhereNothingCanRunAndSaysWhy) {
  fake_cuda::reset({.devices = 0, .version = 13000});
  EXPECT_NE(run(all, 77)["skipped"].get<std::string>().find("there is no device 'cuda:0'"), std::string::npos);
  fake_cuda::reset({.version = 13000, .major = 7, .minor = 0});
  EXPECT_NE(run(all, 77)["skipped"].get<std::string>().find("compute capability 7.0"), std::string::npos);
}

TEST_F(GpuCheck, PartThatThereIsNotIsAFailure) {
  EXPECT_EQ(run("horoscope", 1)["parts"][0]["text"], "there is no such part");
}

// A kernel that does nothing is noticed, whichever it is.
TEST_F(GpuCheck, NumbersFailForEveryKernelThatDoesNothing) {
  std::vector<std::string> parts;
  for (const Part& part : parts_of_numbers()) parts.push_back(part.name);
  std::map<std::string, std::set<std::string>> of_part;  // kernels that each part runs
  for (const std::string& part : parts) {
    reset();
    run(part, 0);
    for (const std::string& name : fake_cuda::take_launches()) of_part[part].insert(name);
  }
  const auto expect_noticed = [&](const std::string& kernel) {
    bool noticed = false;
    for (const std::string& part : parts) {
      if (noticed || !of_part[part].contains(kernel)) continue;
      reset(kernel);
      Setting with = setting(part);
      testing::internal::CaptureStdout();
      noticed = check_device(with) == 1;
      testing::internal::GetCapturedStdout();
    }
    EXPECT_TRUE(noticed) << kernel;
  };
#define EXPECT_NOTICED(name, threads, Arguments) expect_noticed("llmos_" #name);
  LLMOS_CUDA_KERNELS(EXPECT_NOTICED)
#undef EXPECT_NOTICED
}

// What fails on the device fails the part that it happens in, and is told there.
TEST_F(GpuCheck, EveryPartFailsWithTheDeviceAndTheReportIsFinished) {
  for (const std::string& part : names()) {
    if (part == "real model" && setting("").model.empty()) continue;
    reset();
    fake_cuda::fault_later(1, cuda::launch_failed);
    const nlohmann::json report = run(part, 1);
    ASSERT_EQ(report["parts"].size(), 1u) << part;
    EXPECT_NE(report["parts"][0]["text"].get<std::string>().find("LAUNCH_FAILED"), std::string::npos) << report;
    EXPECT_FALSE(report["passed"]);
    EXPECT_EQ(fake_cuda::ledger(), fake_cuda::Ledger{}) << part;
  }
}

TEST_F(GpuCheck, PartsOfMemoryAndEnginesNoticeWhatIsWrong) {
  const std::pair<const char*, const char*> wrong[] = {{"read-only registration", "llmos_gather"},
                                                       {"start of a graph", "llmos_add"},
                                                       {"architectures beside the CPU", "llmos_norm"},
                                                       {"real model", "llmos_rotate"}};
  for (const auto& [part, kernel] : wrong) {
    if (part == std::string("real model") && setting("").model.empty()) continue;
    reset(kernel);
    run(part, 1);
  }
  reset();
  fake_cuda::fault(1, cuda::invalid_value, "cuMemHostRegister_v2");
  run("read-only registration", 1);
  reset();
  fake_cuda::fault(1, cuda::out_of_memory, "cuGraphInstantiateWithFlags");
  EXPECT_NE(run("start of a graph", 1)["parts"][0]["text"].get<std::string>().find("record"), std::string::npos);
  reset();
  fake_cuda::fault(1, 801, "cublasLtMatmul");
  EXPECT_NE(run("products by cuBLASLt", 1)["parts"][0]["text"].get<std::string>().find("refused"), std::string::npos);
  reset();
  fake_cuda::fault(1, cuda::unknown_error, "cuMemAlloc_v2");  // another answer than "no memory"
  run("end of device memory", 1);
}

}  // namespace
}  // namespace llmos::test::gpu
