// SPDX-License-Identifier: MIT
// Numbers, names and tables as people read and write them.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <llmos/llmos.hpp>
#include <optional>
#include <string>
#include <vector>

namespace llmosctl {

std::string human_bytes(uint64_t bytes);           // "253.2 MiB"
std::string human_duration(uint64_t nanoseconds);  // "3 min", "2 d"; "0 s" below a second

// A number with an optional K, M, G or T (powers of 1024; "KiB" and "KB" are allowed too). Throws Error(EINVAL).
uint64_t parse_bytes(const std::string& text);

// By name, or "1000" for an id that has none.
std::string user_name(uid_t uid);
std::string group_name(gid_t gid);
// A name or a number. Throw Error(ENOENT).
uid_t parse_user(const std::string& text);
gid_t parse_group(const std::string& text);

std::string octal(mode_t mode);  // "0440"
mode_t parse_mode(const std::string& text);

std::string state_name(llmos::State state);
std::string state_name(llmos::LaneState state);
std::string seconds_text(std::chrono::nanoseconds time);  // "12.3 s", "0.045 s"
std::string digest_text(const llmos::Digest& digest);  // "sha256:..."; empty when it is not known

// "local", "0", "0,1", "0-3", "interleave", "interleave:0,1". Throws Error(EINVAL).
llmos::Nodes parse_nodes(const std::string& text);

// Columns wide enough for what they hold; columns of `right` are aligned to the right.
class Table {
 public:
  Table(std::vector<std::string> header, std::vector<size_t> right)
      : rows_{std::move(header)}, right_(std::move(right)) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const;
  void print() const;  // to standard output

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<size_t> right_;
};

}  // namespace llmosctl
