// SPDX-License-Identifier: MIT
#include "series.hpp"

#include <algorithm>
#include <cstdio>

namespace llmos::bench {

double median(Series values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const size_t n = values.size();
  return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

Series ratio(const Series& above, const Series& below) {
  Series result;
  for (size_t i = 0; i < above.size(); i++) result.push_back(below[i] > 0 ? above[i] / below[i] : 0);
  return result;
}

nlohmann::ordered_json spread(const Series& values) {
  const auto [low, high] = std::ranges::minmax(values);
  return {{"median", median(values)}, {"min", low}, {"max", high}};
}

std::string spread_text(const nlohmann::ordered_json& spread, double scale, int digits) {
  const auto scaled = [&](const char* field) { return spread[field].get<double>() * scale; };
  char text[64];
  snprintf(text, sizeof(text), "%.*f (%.*f-%.*f)", digits, scaled("median"), digits, scaled("min"), digits,
           scaled("max"));
  return text;
}

}  // namespace llmos::bench
