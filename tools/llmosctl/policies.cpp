// SPDX-License-Identifier: MIT
#include "policies.hpp"

#include <fmt/format.h>

#include <algorithm>
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

void check_policy_name(const std::string& name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  if (name.empty() || !std::all_of(name.begin(), name.end(), allowed))
    throw Error(EINVAL, fmt::format("\"{}\" is no name of a policy: letters, digits and _ are allowed", name));
  if (name.ends_with(kMapsSuffix))
    throw Error(EINVAL, fmt::format("\"{}\" is no name of a policy: the maps of \"{}\" are called so", name,
                                    name.substr(0, name.size() - kMapsSuffix.size())));
}

std::string policy_name_of(const fs::path& object) {
  const std::string file = object.filename();
  return file.ends_with(kPolicySuffix) ? file.substr(0, file.size() - kPolicySuffix.size()) : object.stem().native();
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
