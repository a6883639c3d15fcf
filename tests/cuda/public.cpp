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
