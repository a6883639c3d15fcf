// SPDX-License-Identifier: MIT
// The CUDA driver, found when it is first wanted: one binary runs with and without a GPU.
#pragma once

#include <string>

#include "cuda/driver_api.hpp"

namespace llmos::cuda {

// The driver's functions. Everything is thread-safe.
class Driver {
 public:
  // Loads and initialises it, once for the process. A failure is tried again by the next call. Fails with
  //   ENODEV   there is no libcuda.so.1, or no device, or the driver does not run
  //   ENOTSUP  the driver is too old
  static const Driver& get();

#define LLMOS_DECLARE_CALL(name, symbol, parameters) Result(*name) parameters = nullptr;
  LLMOS_DRIVER_CALLS(LLMOS_DECLARE_CALL)
#undef LLMOS_DECLARE_CALL

 private:
  Driver();
};

// "CUDA_ERROR_OUT_OF_MEMORY (2)"
std::string name_of(Result result);

// Whether the context is lost with this error: nothing runs in it any more, and it must be left.
bool loses_context(Result result);

// Throws Failure (ENOMEM, EIO, …) unless the result is success. `what` says what was asked, for example
// "allocate 4096 bytes".
void check(Result result, const char* what);
[[noreturn]] void fail_call(Result result, const std::string& what);

}  // namespace llmos::cuda
