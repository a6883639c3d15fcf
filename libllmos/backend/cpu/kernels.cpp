// SPDX-License-Identifier: MIT
// Which sets this binary has and this CPU can run.
#include "backend/cpu/kernels.hpp"

#include <cerrno>
#include <string>
#include <vector>

#include "system/error.hpp"

#if defined(LLMOS_X86_KERNELS)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace llmos::core {

const Kernels& portable_kernels();
#if defined(LLMOS_X86_KERNELS)
const Kernels& avx2_kernels();
const Kernels& avx512_kernels();
const Kernels& amx_kernels();
#endif

namespace {

#if defined(LLMOS_X86_KERNELS)
bool have_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}

// Tiles are 8 KiB of state that Linux keeps for a process only on demand, once for all its threads. It refuses where it
// is told to, or while a thread has a signal stack too small for that state.
bool have_amx() {
  constexpr unsigned avx512_bf16 = 1u << 5, amx_bf16 = 1u << 22, amx_tile = 1u << 24;
  constexpr long request_permission = 0x1023, tile_data = 18;  // ARCH_REQ_XCOMP_PERM of asm/prctl.h, XTILEDATA
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & amx_bf16) || !(d & amx_tile)) return false;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & avx512_bf16)) return false;
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}
#endif

std::vector<const Kernels*> find_usable() {
  std::vector<const Kernels*> usable;
#if defined(LLMOS_X86_KERNELS)
  __builtin_cpu_init();
  if (have_avx512() && have_amx()) usable.push_back(&amx_kernels());
  if (have_avx512()) usable.push_back(&avx512_kernels());
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
