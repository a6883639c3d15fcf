// SPDX-License-Identifier: MIT
#include "audit_record.hpp"

#include <fmt/format.h>

#include <cstring>
#include <ctime>
#include <set>
#include <string_view>

namespace llmosctl {
namespace {

using nlohmann::ordered_json;

// Those of kmod/hook.c, promised in <llmos/policy.bpf.h>.
constexpr int64_t kKeyMax = INT64_MAX / 4, kErrnoMax = 4095;
constexpr int64_t kSliceMin = 100'000, kSliceMax = 10'000'000'000;

template <size_t Size>
std::string text_of(const char (&bytes)[Size]) {
  return {bytes, ::strnlen(bytes, Size)};
}

const AuditHook* hook_of(const llmos_audit_record& record) {
  for (const AuditHook& hook : audit_hooks())
    if (hook.decision == record.decision) return &hook;
  return nullptr;
}

const char* verdict(const AuditHook& hook, int64_t answer) {
  if (!answer) return "default";
  return answer < hook.least || answer > hook.most ? "refused" : "answered";
}

void add_lane(ordered_json& json, const llmos_audit_record& record) {
  json["device"] = text_of(record.device);
  json["lane"] = record.object;
  json["name"] = text_of(record.name);
}

// Of a model's memory, or of a device's.
void add_admission(ordered_json& json, const llmos_audit_record& record) {
  if (record.device[0])
    json["device"] = text_of(record.device);
  else
    json["model"] = text_of(record.name);
  json["bytes"] = record.bytes;
  const char* error =
      record.answer < 0 && record.answer >= -kErrnoMax ? ::strerrorname_np(static_cast<int>(-record.answer)) : nullptr;
  if (error) json["error"] = error;
}

std::string dump(const ordered_json& json) { return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace); }

std::string time_of_day(uint64_t time_ns) {
  const auto seconds = static_cast<std::time_t>(time_ns / 1'000'000'000);
  std::tm local{};
  ::localtime_r(&seconds, &local);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
  return fmt::format("{}.{:06}", text, time_ns / 1000 % 1'000'000);
}

}  // namespace

const std::vector<AuditHook>& audit_hooks() {
  static const std::vector<AuditHook> hooks = {
      {"lane_key", LLMOS_AUDIT_LANE_KEY, -kKeyMax, kKeyMax},
      {"lane_slice", LLMOS_AUDIT_LANE_SLICE, kSliceMin, kSliceMax},
      {"evict_score", LLMOS_AUDIT_EVICT_SCORE, -kKeyMax, kKeyMax},
      {"admit", LLMOS_AUDIT_ADMIT, -kErrnoMax, INT64_MAX},
  };
  return hooks;
}

ordered_json decision_json(const llmos_audit_record& record, const std::string& group, uint64_t epoch_ns) {
  const AuditHook* hook = hook_of(record);
  ordered_json json{{"time_ns", record.time_ns + epoch_ns},
                    {"hook", hook ? hook->name : std::to_string(record.decision)},
                    {"verdict", hook ? verdict(*hook, record.answer) : "unknown"},
                    {"answer", record.answer}};
  if (record.group) {
    json["group"] = group;
    json["group_id"] = record.group;
  }
  if (record.decision == LLMOS_AUDIT_LANE_KEY || record.decision == LLMOS_AUDIT_LANE_SLICE) add_lane(json, record);
  if (record.decision == LLMOS_AUDIT_ADMIT) add_admission(json, record);
  if (record.decision == LLMOS_AUDIT_EVICT_SCORE) {
    json["model"] = text_of(record.name);
    json["bytes"] = record.bytes;
  }
  json["pid"] = record.pid;
  return json;
}

// Strings as JSON has them: whatever is in a name, the line is one line, and a word ends at a space or at its quote.
std::string decision_line(const ordered_json& decision) {
  static const std::set<std::string_view> told = {"time_ns", "hook", "verdict", "answer", "group_id"};
  std::string line = fmt::format("{} {:<11} {:<8} {}", time_of_day(decision["time_ns"].get<uint64_t>()),
                                 decision["hook"].get<std::string>(), decision["verdict"].get<std::string>(),
                                 decision["answer"].get<int64_t>());
  for (const auto& [key, value] : decision.items())
    if (!told.contains(key)) line += fmt::format(" {}={}", key, dump(value));
  return line;
}

}  // namespace llmosctl
