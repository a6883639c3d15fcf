// SPDX-License-Identifier: MIT
// A decision as people and programs read it.
#pragma once

#include <llmos/audit.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace llmosctl {

// As /sys/fs/llmos/hooks has them; `decision` is enum llmos_audit_decision.
struct AuditHook {
  const char* name;
  uint32_t decision;
  int64_t least, most;  // what lies beyond is cut or refused by the module
};
const std::vector<AuditHook>& audit_hooks();

// time_ns (since 1970: `epoch_ns` is what CLOCK_MONOTONIC lags behind), hook, verdict ("answered", "default",
// "refused", as the module counts them), answer, and what the hook has of: group, group_id, device, lane, name, model,
// bytes, error; pid.
nlohmann::ordered_json decision_json(const llmos_audit_record& record, const std::string& group, uint64_t epoch_ns);

// The same on one line, with the time of day where we are: "2026-11-22 19:31:02.123456 lane_key answered -17 lane=3
// ...".
std::string decision_line(const nlohmann::ordered_json& decision);

}  // namespace llmosctl
