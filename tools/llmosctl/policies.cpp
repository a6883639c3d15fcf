// SPDX-License-Identifier: MIT
#include "policies.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <llmos/llmos.hpp>

namespace llmosctl {

namespace fs = std::filesystem;
using llmos::Error;

fs::path policies_folder() {
  if (const char* named = std::getenv("LLMOS_POLICIES")) return named;
  std::error_code error;
  const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path().parent_path() / "lib/llmos/policies";
  return fs::exists(here, error) ? here : "/usr/lib/llmos/policies";
}

fs::path policy_object(const std::string& name) {
  const fs::path object =
      name.find('/') == name.npos ? policies_folder() / (name + std::string(kPolicySuffix)) : fs::path(name);
  if (!fs::exists(object))
    throw Error(ENOENT,
                fmt::format("there is no {}; \"llmosctl policy ls\" lists the policies there are", object.native()));
  return object;
}

bool policies_possible() {
  std::string available;
  std::ifstream(kHooks / "available") >> available;
  return available == "1";
}

void require_policies() {
  if (policies_possible()) return;
  if (!fs::exists(kHooks))
    throw Error(ENODEV, fmt::format("there is no {}: the llmos module is not loaded, or too old", kHooks.native()));
  throw Error(EOPNOTSUPP, "no policy can be attached here: kernel or module came without BTF");
}

}  // namespace llmosctl
