// SPDX-License-Identifier: MIT
// One value from each round, and how all of them are told.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace llmos::bench {

using Series = std::vector<double>;

double median(Series values);  // 0 of none

// Round by round: what disturbed one disturbed the other. 0 where there is nothing to divide by.
Series ratio(const Series& above, const Series& below);

// median, min, max.
nlohmann::ordered_json spread(const Series& values);

// "1.23 (1.10-1.40)": the median, and where all rounds lie. From what spread() made, each times `scale`.
std::string spread_text(const nlohmann::ordered_json& spread, double scale = 1, int digits = 2);

}  // namespace llmos::bench
