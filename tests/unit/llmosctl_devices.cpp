// SPDX-License-Identifier: MIT
// llmosctl device: capacities that NVIDIA's management library tells, which is a fake one here.
#include "llmosctl_machine.hpp"

namespace llmos::test {
namespace {

constexpr char kFake[] = "/mnt/lib/libnvidia-ml.so.1";

class LlmosctlNvml : public Llmosctl {
 protected:
  void SetUp() override {
    Llmosctl::SetUp();
    if (IsSkipped()) return;
    if (!std::filesystem::exists(kFake)) GTEST_SKIP() << "no " << kFake;
    for (const json& device : ctl_json("device ls"))
      if (device["kind"] == "pci") id_ = device["id"];
    if (id_.empty()) GTEST_SKIP() << "no PCI display device (tools/vm --display)";
    EXPECT_EQ(memory(), nullptr) << "the bus does not tell";
  }
  void TearDown() override {
    if (!id_.empty()) ctl("device set " + id_ + " --memory max");
    Llmosctl::TearDown();
  }

  Result set_auto(const std::string& environment) const {
    return shell("LD_LIBRARY_PATH=/mnt/lib " + environment + " llmosctl device set " + id_ + " --memory auto");
  }
  json memory() const {
    for (const json& device : ctl_json("device ls"))
      if (device["id"] == id_) return device["memory"];
    return "no such device";
  }

  std::string id_;
};

TEST_F(LlmosctlNvml, tells_the_capacity_of_a_device_on_the_bus) {
  EXPECT_SUCCESS(set_auto("FAKE_NVML_DEVICES=0000:ff:00.0=5," + id_ + "=25769803776"));
  EXPECT_EQ(memory(), 25769803776);
  EXPECT_EQ(slurp("/sys/fs/llmos/devices/" + id_ + "/memory"), "25769803776\n");
  EXPECT_NE(ctl("device ls").out.find("24.0 GiB"), std::string::npos);
}

TEST_F(LlmosctlNvml, that_fails_changes_nothing) {
  EXPECT_SUCCESS(ctl("device set " + id_ + " --memory 1G"));
  const std::string known = "FAKE_NVML_DEVICES=" + id_ + "=25769803776 ";
  EXPECT_COMPLAINT("does not start (Driver Not Loaded)", set_auto(known + "FAKE_NVML_FAILS=nvmlInit_v2=9"));
  EXPECT_COMPLAINT("does not know", set_auto("FAKE_NVML_DEVICES=0000:ff:00.0=5"));
  EXPECT_COMPLAINT("give the capacity in bytes", set_auto(known + "FAKE_NVML_FAILS=nvmlDeviceGetMemoryInfo=3"));
  EXPECT_COMPLAINT("is not here to be asked", ctl("device set " + id_ + " --memory auto"));
  EXPECT_EQ(memory(), 1 << 30);
}

}  // namespace
}  // namespace llmos::test
