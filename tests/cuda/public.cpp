// SPDX-License-Identifier: MIT
// The device by its name in the public interfaces, as a program uses them. Simulated.
#include <gtest/gtest.h>

#include <llmos/llmos.hpp>

#include "cuda/simulated.hpp"

namespace {

class CudaPublic : public llmos::test::Simulated {
  void SetUp() override {
    LLMOS_NEED_DATA("models/stories260K-F32.gguf");
    if (llmos::cuda::built_in_image().empty()) GTEST_SKIP() << "built without nvcc, so without kernels";
    Simulated::SetUp();
  }
};

TEST_F(CudaPublic, EngineOnACudaDeviceWritesWhatTheCpuWrites) {
  const llmos::Model model = llmos::Store::memory().load(llmos::test::data_path("models/stories260K-F32.gguf"));
  const auto write = [&](const std::string& device) {
    const llmos::Engine engine(model, {.device = device, .context = 128});
    EXPECT_EQ(engine.info().device.substr(0, 4), device == "cpu" ? "CPU," : "CUDA");
    return engine.generate("Once upon", {.max_tokens = 16, .temperature = 0}).text();
  };
  EXPECT_EQ(write("cuda:0"), write("cpu"));
}

TEST_F(CudaPublic, LongNameOfADeviceIsWhole) {
  const std::string name = "NVIDIA RTX PRO 6000 Blackwell Data Center Edition MIG 1g.24gb of a long name";
  fake_cuda::reset({.name = name});
  const llmos::Model model = llmos::Store::memory().load(llmos::test::data_path("models/stories260K-F32.gguf"));
  EXPECT_EQ(llmos::Engine(model, {.device = "cuda:0", .context = 64}).info().device, "CUDA, " + name);
}

// What is about CUDA devices: on the CPU all layers run, on weights that lie where they lie.
TEST(CpuPublic, OptionsOfDevicesAreRefusedOrTrueAnyway) {
  LLMOS_NEED_DATA("models/stories260K-F32.gguf");
  const llmos::Model model = llmos::Store::memory().load(llmos::test::data_path("models/stories260K-F32.gguf"));
  const auto write = [&](const llmos::EngineOptions& options) {
    const llmos::Engine engine(model, options);
    EXPECT_EQ(engine.info().device_layers, engine.info().layers);
    EXPECT_EQ(engine.info().device_bytes, 0u);
    return engine.generate("Once upon", {.max_tokens = 8, .temperature = 0}).text();
  };
  const std::string text = write({.context = 64});
  EXPECT_EQ(write({.context = 64, .weights = llmos::Weights::in_place}), text);
  EXPECT_EQ(write({.context = 64, .device_layers = llmos::auto_layers}), text);
  try {
    const llmos::Engine engine(model, {.device_layers = 2});
    FAIL();
  } catch (const llmos::Error& error) {
    EXPECT_EQ(error.code(), EINVAL);
    EXPECT_NE(std::string(error.what()).find("2 layers were to run on the device"), std::string::npos) << error.what();
  }
}

TEST_F(CudaPublic, MissingDeviceIsAnErrorOfTheApi) {
  const llmos::Model model = llmos::Store::memory().load(llmos::test::data_path("models/stories260K-F32.gguf"));
  try {
    const llmos::Engine engine(model, {.device = "cuda:7"});
    FAIL();
  } catch (const llmos::Error& error) {
    EXPECT_EQ(error.code(), ENODEV);
    EXPECT_NE(std::string(error.what()).find("cuda:7"), std::string::npos);
  }
}

}  // namespace
