// SPDX-License-Identifier: MIT
// What "llmosctl doctor" looks at. Each check reads the machine through a System, so that tests can show it another
// one.
#pragma once

#include <filesystem>
#include <functional>
#include <llmos/llmos.hpp>
#include <string>
#include <vector>

namespace llmosctl {

enum class Level { ok, warn, fail };

struct Check {
  std::string what;  // one word
  Level level;
  std::string found;   // what is the case
  std::string advice;  // what to do; empty when all is well
};

struct System {
  std::filesystem::path root = "/";  // of the files that are looked at
  std::string release;               // of the running kernel, such as "6.12.43+deb13-amd64"
  std::string library_version;
  std::string user;
  bool superuser = false;
  std::vector<std::string> groups;             // of this process
  std::function<llmos::StoreInfo()> query;     // of the kernel's store; throws Error
  std::function<uint64_t()> available_memory;  // bytes this process's cgroups and the machine leave
};

// This machine, as this process sees it.
System this_system();

// All checks, in the order in which a person should read them.
std::vector<Check> examine(const System& system);

}  // namespace llmosctl
