// SPDX-License-Identifier: MIT
#include "report.hpp"

#include <cstdio>

namespace llmos::bench {

using Json = nlohmann::ordered_json;

const Series& Results::series(const std::string& backing, const std::string& metric) const {
  return values_.at(backing).at(metric);
}

Series Results::ratio(const std::string& backing, const std::string& metric, const std::string& of) const {
  return bench::ratio(series(backing, metric), series(of, metric));
}

Series Results::share_of_disk(const std::string& backing) const {
  return bench::ratio(series("disk", "fill"), series(backing, "fill"));
}

std::vector<Results::Aim> Results::aims() const {
  const std::string& ours = backings.front();
  return {
      {"fill, as a share of the disk's O_DIRECT rate", median(share_of_disk(ours)), 0.95, true},
      {"map and touch, to a hugetlbfs file", median(ratio(ours, "touch", "hugetlbfs file")), 1.05, false},
      {"map and touch, to the page cache", median(ratio(ours, "touch", "page cache")), 0.2, false},
      {"of this, what is not the touching: to the cache", median(ratio(ours, "fault", "page cache")), 0.2, false},
      {"page tables, to those of 4 KiB pages", median(ratio(ours, "page_tables", "page cache")), 0.01, false},
  };
}

Json Results::json() const {
  Json all = conditions;
  for (const auto& backing : backings)
    for (const auto& [metric, values] : values_.at(backing)) all["backings"][backing][metric] = spread(values);
  for (const auto& backing : backings) all["backings"][backing]["share_of_disk"] = spread(share_of_disk(backing));
  all["disk"] = spread(series("disk", "fill"));
  for (const auto& [mappers, values] : revoke_) all["revoke"][std::to_string(mappers)] = spread(values);
  for (const auto& aim : aims())
    all["aims"].push_back({{"what", aim.what}, {"reached", aim.reached}, {"wanted", aim.wanted}, {"met", aim.met()}});
  return all;
}

struct Column {
  const char *title, *unit;
  std::string metric, of;  // ratios to that backing, or absolute values
  double scale;
  int digits;
};

std::string Results::table() const {
  const std::string huge = "hugetlbfs file", cache = "page cache";
  const Column columns[] = {
      {"map and touch", "to hugetlbfs", "touch", huge, 1, 2},
      {"map and touch", "to page cache", "touch", cache, 1, 3},
      {"map and touch less touching again", "to page cache", "fault", cache, 1, 3},
      {"page faults of that", "number", "faults", "", 1, 0},
      {"page tables", "KiB", "page_tables", "", 1.0 / 1024, 0},
      {"fill", "share of disk", "share", "", 1, 2},
      {"load", "to page cache", "load", cache, 1, 2},
      {"first byte after pressure", "to page cache", "pressed_first", cache, 1, 3},
      {"first 32 MiB after pressure", "to page cache", "pressed_all", cache, 1, 3},
      {"drop", "ms", "drop", "", 1000, 2},
  };
  std::string text;
  char line[256];
  for (const Column& column : columns) {
    snprintf(line, sizeof(line), "\n%s, %s\n", column.title, column.unit);
    text += line;
    for (const auto& backing : backings) {
      const auto values = column.metric == "share" ? share_of_disk(backing)
                          : column.of.empty()      ? series(backing, column.metric)
                                                   : ratio(backing, column.metric, column.of);
      snprintf(line, sizeof(line), "  %-24s %s\n", backing.c_str(),
               spread_text(spread(values), column.scale, column.digits).c_str());
      text += line;
    }
  }
  text += "\nrevoking one of N users, ms per GiB\n";
  const double gib = conditions["bytes"].get<double>() / (1 << 30);
  for (const auto& [mappers, values] : revoke_) {
    snprintf(line, sizeof(line), "  N = %-20u %s\n", mappers, spread_text(spread(values), 1000 / gib).c_str());
    text += line;
  }
  text += "\naims\n";
  for (const auto& aim : aims()) {
    snprintf(line, sizeof(line), "  %-46s %.3f, wanted %s %.2f: %s\n", aim.what.c_str(), aim.reached,
             aim.at_least ? "at least" : "at most", aim.wanted, aim.met() ? "met" : "MISSED");
    text += line;
  }
  return text;
}

}  // namespace llmos::bench
