// SPDX-License-Identifier: MIT
// Which store it is.
#include "store/store.hpp"

#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "system/error.hpp"

namespace llmos::core {
namespace {

int which_by_environment() {
  const char* value = std::getenv("LLMOS_STORE");
  const std::string_view which = value ? value : "";
  if (which.empty() || which == "auto") return LLMOS_STORE_AUTO;
  if (which == "kernel") return LLMOS_STORE_KERNEL;
  if (which == "memory") return LLMOS_STORE_MEMORY;
  fail(EINVAL, "LLMOS_STORE is \"{}\"; it may be auto, kernel or memory", which);
}

std::unique_ptr<Store> open_best_store() {
  std::unique_ptr<Store> kernel;
  try {
    kernel = open_kernel_store();
  } catch (const Failure& failure) {
    // No module, or not for this user: no error for a program that only wants its model. What an administrator must
    // mend is one: nobody should find out by the memory that copies take.
    if (failure.code() != ENODEV && failure.code() != EACCES) throw;
    return open_memory_store();
  }
  return kernel->may_load() ? std::move(kernel) : join_memory_store(std::move(kernel));
}

}  // namespace

std::unique_ptr<Store> open_store(int which) {
  if (which == LLMOS_STORE_AUTO) which = which_by_environment();
  switch (which) {
    case LLMOS_STORE_AUTO:
      return open_best_store();
    case LLMOS_STORE_KERNEL:
      return open_kernel_store();
    case LLMOS_STORE_MEMORY:
      return open_memory_store();
  }
  fail(EINVAL, "there is no store {}", which);
}

}  // namespace llmos::core
