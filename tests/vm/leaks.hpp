// SPDX-License-Identifier: MIT
// What a long campaign must not leave behind: memory that nobody accounts for, and a module that cannot be unloaded.
#pragma once

#include <cstdint>
#include <string>

namespace llmos::guest {

// Bytes of memory that are neither free nor in any of the kernel's accounts, after caches were dropped. Lost pages
// add to it.
int64_t unaccounted_memory();

// How far unaccounted_memory() may drift with nothing wrong. Debug kernels keep records of their own.
int64_t unaccounted_tolerance();

// Unmounts the models everywhere, unloads the module and loads it again. Unloading looks for objects that were not
// freed, and makes the kernel complain about them. Returns what went wrong, or nothing.
std::string reload_module();

}  // namespace llmos::guest
