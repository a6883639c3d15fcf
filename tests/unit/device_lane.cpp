// SPDX-License-Identifier: MIT
// Lanes on this machine, which has no module: what is said then, and how the kernel's account of one is read.
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <llmos/llmos.hpp>
#include <sstream>

#include "device/device.hpp"
#include "store_support.hpp"
#include "support/test_data.hpp"

namespace llmos::test {
namespace {

class WithoutModule : public testing::Test {
  void SetUp() override {
    if (std::filesystem::exists("/dev/llmos")) GTEST_SKIP() << "the module is loaded";
  }
};

TEST_F(WithoutModule, ALaneIsAClearError) {
  EXPECT_ERROR(ENODEV, "modprobe llmos", Lane("cpu"));
  EXPECT_ERROR(ENODEV, "modprobe llmos", Lane::list());
}

TEST_F(WithoutModule, AnEngineThatSharesItsDeviceIsAClearError) {
  LLMOS_NEED_DATA("models/stories260K-F32.gguf");
  const Model model = Store::memory().load(data_path("models/stories260K-F32.gguf"));
  EXPECT_ERROR(ENODEV, "modprobe llmos", Engine(model, {.threads = 1, .device_share = true}));
  EXPECT_NO_THROW(Engine(model, {.threads = 1}));
}

TEST(LaneArguments, NamesThatDoNotFitAreRefusedHere) {
  EXPECT_ERROR(EINVAL, "too long", Lane("cpu", {.name = std::string(32, 'x')}));
  EXPECT_ERROR(EINVAL, "too long", Lane(std::string(32, 'x')));
  EXPECT_EQ(llmos_lane_open(nullptr), -EINVAL);
}

TEST(LaneFdinfo, GivesEveryFieldThatTheKernelShows) {
  std::istringstream text(
      "pos:\t0\nflags:\t02000002\nmnt_id:\t15\nino:\t1037\nllmos-lane:\t7\nllmos-device:\tgpu0\nllmos-state:\tholding\n"
      "llmos-name:\tchat\nllmos-group:\t42\nllmos-weight:\t300\nllmos-class:\t2\nllmos-deadline-ns:\t5\n"
      "llmos-cost-ns:\t6\nllmos-slice-ns:\t50000000\nllmos-used-ns:\t123456789012\nllmos-waited-ns:\t9\n"
      "llmos-turns:\t11\nllmos-overruns:\t1\nllmos-lost:\t3\nllmos-of-the-future:\t1\n");
  const LaneInfo lane(core::read_lane_fdinfo(text), 99);
  EXPECT_EQ(lane.id, 7u);
  EXPECT_EQ(lane.device, "gpu0");
  EXPECT_EQ(lane.state, LaneState::holding);
  EXPECT_EQ(lane.name, "chat");
  EXPECT_EQ(lane.cgroup, 42u);
  EXPECT_EQ(lane.weight, 300u);
  EXPECT_EQ(lane.lane_class, 2u);
  EXPECT_EQ(lane.deadline.count(), 5);
  EXPECT_EQ(lane.cost.count(), 6);
  EXPECT_EQ(lane.slice.count(), 50'000'000);
  EXPECT_EQ(lane.used.count(), 123'456'789'012);
  EXPECT_EQ(lane.waited.count(), 9);
  EXPECT_EQ(lane.turns, 11u);
  EXPECT_EQ(lane.overruns, 1u);
  EXPECT_EQ(lane.lost, 3u);
  EXPECT_EQ(lane.pid, 99);
}

TEST(LaneFdinfo, OfAnotherDescriptorIsNone) {
  std::istringstream text("pos:\t0\nflags:\t02\nmnt_id:\t15\nino:\t1037\neventfd-count:                0\n");
  EXPECT_EQ(core::read_lane_fdinfo(text).id, 0u);
}

}  // namespace
}  // namespace llmos::test
