// SPDX-License-Identifier: MIT
// The JSON that --json prints; llmosctl(1) documents the fields.
#pragma once

#include <llmos/llmos.hpp>
#include <nlohmann/json.hpp>

namespace llmosctl {

// What only those learn who may use /dev/llmos is null unless `all`.
nlohmann::ordered_json to_json(const llmos::ModelInfo& model, bool all = true);
nlohmann::ordered_json to_json(const llmos::Grant& grant);
nlohmann::ordered_json to_json(const llmos::LaneInfo& lane, const std::string& cgroup);

// To standard output, indented.
void print(const nlohmann::ordered_json& json);

}  // namespace llmosctl
