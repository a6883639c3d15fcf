// SPDX-License-Identifier: MIT
#include "scheduler.hpp"

#include <fmt/format.h>
#include <llmos/scheduler.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <llmos/llmos.hpp>
#include <string_view>

#include "bpf.hpp"

namespace llmosctl {
namespace {

namespace fs = std::filesystem;
using llmos::Error;

constexpr std::string_view kPrefix = "scx_";
const fs::path kSchedExt = "/sys/kernel/sched_ext", kBpf = "/sys/fs/bpf";

std::string line_of(const fs::path& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

// scx_llmos calls itself llmos, and its maps llmos_scx_NAME.
std::string own_name(const std::string& policy) { return policy.substr(kPrefix.size()); }

bool is_idle() { return line_of(kSchedExt / "state") == "disabled"; }

bool runs(const std::string& policy) { return !is_idle() && line_of(kSchedExt / "root/ops") == own_name(policy); }

template <size_t size>
std::string text_of(const char (&field)[size]) {
  return {field, ::strnlen(field, size)};
}

}  // namespace

bool is_scheduler(const std::string& policy) { return policy.starts_with(kPrefix); }

void require_sched_ext() {
  if (!fs::exists(kSchedExt / "state"))
    throw Error(EOPNOTSUPP,
                "this kernel takes no scheduler of CPUs: it was built without sched_ext (CONFIG_SCHED_CLASS_EXT)");
  if (!is_idle())
    throw Error(EBUSY, fmt::format("the scheduler of CPUs \"{}\" is attached, and there can be only one",
                                   line_of(kSchedExt / "root/ops")));
}

std::optional<std::string> scheduler_end(const std::string& policy) {
  if (runs(policy)) return std::nullopt;
  llmos_scx_end end{};
  if (!read_pinned(kBpf / (own_name(policy) + "_scx_end"), &end, sizeof(end)) || !end.kind) return "not known why";
  const std::string reason = text_of(end.reason), message = text_of(end.message);
  return message.empty() ? reason : reason + ": " + message;
}

void forget_scheduler(const std::string& policy) {
  for (int tries = 100; runs(policy); tries--, ::usleep(100'000))
    if (!tries)
      throw Error(EBUSY, fmt::format("{} was detached, but runs on: who else holds it? See {}", policy,
                                     (kSchedExt / "state").native()));
  std::error_code error;
  for (fs::directory_iterator entry(kBpf, error), end; !error && entry != end; entry.increment(error))
    if (entry->path().filename().native().starts_with(own_name(policy) + "_scx_")) ::unlink(entry->path().c_str());
}

}  // namespace llmosctl
