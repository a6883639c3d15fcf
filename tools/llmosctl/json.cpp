// SPDX-License-Identifier: MIT
#include "json.hpp"

#include <fmt/format.h>

#include <cstdio>

#include "text.hpp"

namespace llmosctl {

using nlohmann::ordered_json;

ordered_json to_json(const llmos::ModelInfo& model, bool all) {
  ordered_json json{
      {"name", model.name},         {"state", state_name(model.state)},
      {"bytes", model.bytes},       {"filled", model.filled},
      {"hashed", model.hashed},     {"resident", model.resident},
      {"huge", model.huge},         {"grants", model.grants},
      {"idle_ns", model.idle_ns},   {"evictable", model.evictable},
      {"priority", model.priority}, {"signed", model.is_signed},
      {"uid", model.uid},           {"owner", user_name(model.uid)},
      {"gid", model.gid},           {"group", group_name(model.gid)},
      {"mode", octal(model.mode)},  {"digest", digest_text(model.digest)},
  };
  if (!all)
    for (const char* key : {"huge", "grants", "idle_ns", "evictable", "priority", "signed"}) json[key] = nullptr;
  return json;
}

ordered_json to_json(const llmos::Grant& grant) {
  return {
      {"id", grant.id},         {"pid", grant.pid},
      {"uid", grant.uid},       {"user", user_name(grant.uid)},
      {"cgroup", grant.cgroup}, {"opened_ns", grant.opened_ns},
      {"mapped", grant.mapped}, {"revoked", grant.revoked},
      {"loader", grant.loader},
  };
}

ordered_json to_json(const llmos::LaneInfo& lane, const std::string& cgroup) {
  return {
      {"id", lane.id},
      {"device", lane.device},
      {"cgroup", cgroup},
      {"cgroup_id", lane.cgroup},
      {"name", lane.name},
      {"pid", lane.pid},
      {"weight", lane.weight},
      {"class", lane.lane_class},
      {"state", state_name(lane.state)},
      {"turns", lane.turns},
      {"used_ns", lane.used.count()},
      {"waited_ns", lane.waited.count()},
      {"slice_ns", lane.slice.count()},
      {"deadline_ns", lane.deadline.count()},
      {"cost_ns", lane.cost.count()},
      {"overruns", lane.overruns},
      {"lost", lane.lost},
  };
}

void print(const ordered_json& json) {
  // File names need not be UTF-8; JSON must be.
  fmt::print("{}\n", json.dump(2, ' ', false, ordered_json::error_handler_t::replace));
}

}  // namespace llmosctl
