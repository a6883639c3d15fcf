// SPDX-License-Identifier: MIT
// The JSON that --json prints; llmosctl(1) documents the fields.
#pragma once

#include <llmos/llmos.hpp>
#include <nlohmann/json.hpp>

namespace llmosctl {

nlohmann::ordered_json to_json(const llmos::ModelInfo& model);
nlohmann::ordered_json to_json(const llmos::Grant& grant);

// To standard output, indented.
void print(const nlohmann::ordered_json& json);

}  // namespace llmosctl
