// SPDX-License-Identifier: MIT
// Where policies lie and are pinned, and whether any can be attached here.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace llmosctl {

inline const std::filesystem::path kPins = "/sys/fs/bpf/llmos", kHooks = "/sys/fs/llmos/hooks";
inline constexpr std::string_view kPolicySuffix = ".bpf.o", kMapsSuffix = "_maps";

// LLMOS_POLICIES, or where the package puts them: lib/llmos/policies beside bin/.
std::filesystem::path policies_folder();

// A policy's name becomes a path below kPins, which is removed with all that lies there: letters, digits and _ only,
// and not what another policy's maps are called. Throws Error(EINVAL).
void check_policy_name(const std::string& name);

// NAME of .../NAME.bpf.o.
std::string policy_name_of(const std::filesystem::path& object);

// The object of an installed policy, or the path itself where there is a slash in it. Throws Error(ENOENT).
std::filesystem::path policy_object(const std::string& name);

// Kernel and module have BTF.
bool policies_possible();

// Throws Error, which says what is missing: ENODEV, the module; EOPNOTSUPP, BTF.
void require_policies();

}  // namespace llmosctl
