// SPDX-License-Identifier: MIT
#include "cgroups.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <string_view>

namespace llmosctl {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRoot = "/sys/fs/cgroup";

uint64_t inode_of(const fs::path& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) ? 0 : status.st_ino;
}

}  // namespace

Cgroups::Cgroups() {
  std::error_code error;
  paths_.emplace(inode_of(kRoot), "/");
  fs::recursive_directory_iterator entry(kRoot, fs::directory_options::skip_permission_denied, error), end;
  for (; !error && entry != end; entry.increment(error)) {
    std::error_code gone;  // a cgroup may go while it is looked at
    if (entry->is_directory(gone)) paths_[inode_of(entry->path())] = entry->path().native().substr(kRoot.size() + 1);
  }
}

std::string Cgroups::name(uint64_t id) const {
  const auto found = paths_.find(id);
  return found == paths_.end() ? std::to_string(id) : found->second;
}

}  // namespace llmosctl
