// SPDX-License-Identifier: MIT
#include "text.hpp"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

namespace llmosctl {
namespace {

using llmos::Error;

// All of `text` as a number of that base, or nothing.
template <typename Number>
std::optional<Number> number(std::string_view text, int base = 10) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

[[noreturn]] void fail_nodes(const std::string& text) {
  throw Error(EINVAL,
              fmt::format("\"{}\" names no NUMA nodes: write local, 0, 0,1, 0-3, interleave or interleave:0,1", text));
}

int parse_node(std::string_view text, const std::string& whole) {
  const auto node = number<int>(text);
  if (!node || *node < 0 || *node >= LLMOS_NODES_MAX) fail_nodes(whole);
  return *node;
}

uint64_t parse_node_list(std::string_view list, const std::string& whole) {
  uint64_t mask = 0;
  for (size_t from = 0; from <= list.size();) {
    const size_t to = std::min(list.find(',', from), list.size());
    const std::string_view item = list.substr(from, to - from);
    const size_t dash = std::min(item.find('-'), item.size());
    const int first = parse_node(item.substr(0, dash), whole);
    const int last = dash == item.size() ? first : parse_node(item.substr(dash + 1), whole);
    if (last < first) fail_nodes(whole);
    for (int node = first; node <= last; ++node) mask |= uint64_t{1} << node;
    from = to + 1;
  }
  return mask;
}

}  // namespace

std::string human_bytes(uint64_t bytes) {
  constexpr std::array units{"KiB", "MiB", "GiB", "TiB", "PiB"};
  if (bytes < 1024) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1023.95 && unit + 1 < units.size(); ++unit) value /= 1024;
  return fmt::format("{:.1f} {}", value, units[unit]);
}

std::string human_duration(uint64_t nanoseconds) {
  const uint64_t seconds = nanoseconds / 1'000'000'000;
  if (seconds < 120) return fmt::format("{} s", seconds);
  if (seconds < 7200) return fmt::format("{} min", seconds / 60);
  if (seconds < 172800) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} d", seconds / 86400);
}

uint64_t parse_bytes(const std::string& text) {
  constexpr std::string_view letters = "KMGT";
  const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto value = number<uint64_t>(std::string_view(text).substr(0, digits));
  std::string_view unit = std::string_view(text).substr(digits);
  unsigned shift = 0;
  if (!unit.empty()) {
    const size_t at = letters.find(static_cast<char>(std::toupper(static_cast<unsigned char>(unit[0]))));
    if (at != letters.npos) {
      shift = static_cast<unsigned>(10 * (at + 1));
      unit.remove_prefix(1);
    }
    if (unit == "iB" || unit == "B") unit = {};
  }
  if (!value || !unit.empty() || *value > UINT64_MAX >> shift)
    throw Error(EINVAL, fmt::format("\"{}\" is no size: write a number, and K, M, G or T after it if you like", text));
  return *value << shift;
}

std::string user_name(uid_t uid) {
  const passwd* entry = ::getpwuid(uid);
  return entry ? entry->pw_name : std::to_string(uid);
}

std::string group_name(gid_t gid) {
  const group* entry = ::getgrgid(gid);
  return entry ? entry->gr_name : std::to_string(gid);
}

uid_t parse_user(const std::string& text) {
  if (const passwd* entry = ::getpwnam(text.c_str())) return entry->pw_uid;
  if (const auto uid = number<uid_t>(text)) return *uid;
  throw Error(ENOENT, fmt::format("there is no user \"{}\"", text));
}

gid_t parse_group(const std::string& text) {
  if (const group* entry = ::getgrnam(text.c_str())) return entry->gr_gid;
  if (const auto gid = number<gid_t>(text)) return *gid;
  throw Error(ENOENT, fmt::format("there is no group \"{}\"", text));
}

std::string octal(mode_t mode) { return fmt::format("{:04o}", mode); }

mode_t parse_mode(const std::string& text) {
  const auto mode = number<mode_t>(text, 8);
  if (!mode || *mode > 0777)
    throw Error(EINVAL, fmt::format("\"{}\" is no mode: write an octal number such as 0640", text));
  return *mode;
}

std::string state_name(llmos::LaneState state) {
  switch (state) {
    case llmos::LaneState::idle:
      return "idle";
    case llmos::LaneState::waiting:
      return "waiting";
    case llmos::LaneState::holding:
      return "holding";
    case llmos::LaneState::gone:
      return "gone";
  }
  return "unknown";
}

std::string seconds_text(std::chrono::nanoseconds time) {
  return fmt::format("{:.3f} s", std::chrono::duration<double>(time).count());
}

std::string state_name(llmos::State state) {
  switch (state) {
    case llmos::State::filling:
      return "filling";
    case llmos::State::sealing:
      return "sealing";
    case llmos::State::sealed:
      return "sealed";
    case llmos::State::evicted:
      return "evicted";
  }
  return "unknown";
}

std::string digest_text(const llmos::Digest& digest) {
  const bool known = std::any_of(digest.begin(), digest.end(), [](uint8_t byte) { return byte != 0; });
  return known ? "sha256:" + llmos::to_hex(digest) : "";
}

llmos::Nodes parse_nodes(const std::string& text) {
  constexpr std::string_view interleave = "interleave";
  if (text == "local") return llmos::Nodes::local();
  if (text == interleave) return llmos::Nodes::interleave();
  llmos::Nodes nodes = llmos::Nodes::interleave();
  std::string_view list = text;
  if (list.starts_with("interleave:"))
    list.remove_prefix(interleave.size() + 1);
  else
    nodes.policy = LLMOS_NODES_BIND;
  nodes.mask = parse_node_list(list, text);
  return nodes;
}

std::string Table::text() const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      const bool right = std::find(right_.begin(), right_.end(), i) != right_.end();
      text += right ? fmt::format("{:>{}}", row[i], widths[i]) : fmt::format("{:<{}}", row[i], widths[i]);
      text += "  ";
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += '\n';
  }
  return text;
}

void Table::print() const { fmt::print("{}", text()); }

}  // namespace llmosctl
