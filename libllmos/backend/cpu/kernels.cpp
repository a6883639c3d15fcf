// SPDX-License-Identifier: MIT
// Which sets this binary has and this CPU can run.
#include "backend/cpu/kernels.hpp"

#include <cerrno>
#include <string>
#include <vector>

#include "system/error.hpp"

namespace llmos::core {

const Kernels& portable_kernels();
#if defined(LLMOS_X86_KERNELS)
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
#endif

namespace {

std::vector<const Kernels*> find_usable() {
  std::vector<const Kernels*> usable;
#if defined(LLMOS_X86_KERNELS)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni"))
    usable.push_back(&avx512_kernels());
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c"))
    usable.push_back(&avx2_kernels());
#endif
  usable.push_back(&portable_kernels());
  return usable;
}

}  // namespace

std::span<const Kernels* const> usable_kernels() {
  static const std::vector<const Kernels*> usable = find_usable();
  return usable;
}

const Kernels& select_kernels(std::string_view name) {
  if (name.empty()) return *usable_kernels().front();
  std::string names;
  for (const Kernels* kernels : usable_kernels()) {
    if (kernels->name == name) return *kernels;
    names.append(names.empty() ? "" : ", ").append(kernels->name);
  }
  fail(ENOTSUP, "the kernel set '{}' was asked for; this CPU and this build have {}", name, names);
}

}  // namespace llmos::core
