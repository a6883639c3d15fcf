// SPDX-License-Identifier: MIT
// Decisions as llmosctl audit shows them.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>

#include "audit_record.hpp"

namespace llmosctl {
namespace {

llmos_audit_record lane_record(uint32_t decision, int64_t answer) {
  llmos_audit_record record{};
  record.time_ns = 1'500;
  record.object = 7;
  record.group = 42;
  record.decision = decision;
  record.answer = answer;
  record.pid = 311;
  std::strcpy(record.device, "cpu");
  std::strcpy(record.name, "chat");
  return record;
}

std::string verdict(uint32_t decision, int64_t answer) {
  return decision_json(lane_record(decision, answer), "", 0)["verdict"];
}

TEST(Audit, VerdictsAreTheModules) {
  for (const uint32_t decision : {LLMOS_AUDIT_LANE_KEY, LLMOS_AUDIT_EVICT_SCORE}) {
    EXPECT_EQ(verdict(decision, 0), "default");
    EXPECT_EQ(verdict(decision, -1), "answered");
    EXPECT_EQ(verdict(decision, INT64_MAX / 4), "answered");
    EXPECT_EQ(verdict(decision, INT64_MAX / 4 + 1), "refused");
    EXPECT_EQ(verdict(decision, INT64_MIN), "refused");
  }
  EXPECT_EQ(verdict(LLMOS_AUDIT_LANE_SLICE, 0), "default");
  EXPECT_EQ(verdict(LLMOS_AUDIT_LANE_SLICE, 99'999), "refused");
  EXPECT_EQ(verdict(LLMOS_AUDIT_LANE_SLICE, 100'000), "answered");
  EXPECT_EQ(verdict(LLMOS_AUDIT_LANE_SLICE, 10'000'000'001), "refused");
  EXPECT_EQ(verdict(LLMOS_AUDIT_ADMIT, 0), "default");
  EXPECT_EQ(verdict(LLMOS_AUDIT_ADMIT, 1), "answered");
  EXPECT_EQ(verdict(LLMOS_AUDIT_ADMIT, -4095), "answered");
  EXPECT_EQ(verdict(LLMOS_AUDIT_ADMIT, -4096), "refused");
  EXPECT_EQ(verdict(99, 1), "unknown");
}

TEST(Audit, LaneNamesDeviceGroupAndLane) {
  const auto json = decision_json(lane_record(LLMOS_AUDIT_LANE_KEY, -17), "tenant.slice", 1'000'000'000);
  EXPECT_EQ(json.dump(), R"({"time_ns":1000001500,"hook":"lane_key","verdict":"answered","answer":-17,)"
                         R"("group":"tenant.slice","group_id":42,"device":"cpu","lane":7,"name":"chat","pid":311})");
}

TEST(Audit, AdmissionIsOfAModelOrOfADevice) {
  llmos_audit_record record = lane_record(LLMOS_AUDIT_ADMIT, -EDQUOT);
  record.bytes = 4096;
  auto json = decision_json(record, "/", 0);
  EXPECT_EQ(json["device"], "cpu");
  EXPECT_FALSE(json.contains("model"));
  EXPECT_EQ(json["bytes"], 4096);
  EXPECT_EQ(json["error"], "EDQUOT");
  record.device[0] = 0;
  record.answer = 1;
  json = decision_json(record, "/", 0);
  EXPECT_EQ(json["model"], "chat");
  EXPECT_FALSE(json.contains("device"));
  EXPECT_FALSE(json.contains("error"));
}

TEST(Audit, EvictionIsOfAModelAndOfNoGroup) {
  llmos_audit_record record = lane_record(LLMOS_AUDIT_EVICT_SCORE, 3);
  record.group = 0;
  std::memset(record.name, 'x', sizeof(record.name));  // no end within
  const auto json = decision_json(record, "", 0);
  EXPECT_EQ(json["model"], std::string(sizeof(record.name), 'x'));
  EXPECT_FALSE(json.contains("group"));
  EXPECT_FALSE(json.contains("lane"));
}

TEST(Audit, LineIsOneLineWhateverIsInAName) {
  llmos_audit_record record = lane_record(LLMOS_AUDIT_LANE_SLICE, 0);
  std::strcpy(record.name, "a\"b\nc\xff");
  ::setenv("TZ", "UTC", 1);
  const std::string line = decision_line(decision_json(record, "te nant", 86'400'000'000'000));
  EXPECT_EQ(line,
            "1970-01-02 00:00:00.000001 lane_slice  default  0 group=\"te nant\" device=\"cpu\" lane=7 "
            "name=\"a\\\"b\\nc\xEF\xBF\xBD\" pid=311");
}

}  // namespace
}  // namespace llmosctl
