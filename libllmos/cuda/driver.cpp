// SPDX-License-Identifier: MIT
#include "cuda/driver.hpp"

#include <dlfcn.h>

#include <cerrno>
#include <memory>
#include <mutex>
#include <utility>

#include "system/error.hpp"

namespace llmos::cuda {
namespace {

using core::fail;

constexpr std::pair<Result, const char*> names[] = {
    {invalid_value, "CUDA_ERROR_INVALID_VALUE"},
    {out_of_memory, "CUDA_ERROR_OUT_OF_MEMORY"},
    {not_initialized, "CUDA_ERROR_NOT_INITIALIZED"},
    {no_device, "CUDA_ERROR_NO_DEVICE"},
    {invalid_device, "CUDA_ERROR_INVALID_DEVICE"},
    {invalid_image, "CUDA_ERROR_INVALID_IMAGE"},
    {invalid_context, "CUDA_ERROR_INVALID_CONTEXT"},
    {no_binary_for_gpu, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
    {ecc_uncorrectable, "CUDA_ERROR_ECC_UNCORRECTABLE"},
    {unsupported_ptx_version, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
    {not_found, "CUDA_ERROR_NOT_FOUND"},
    {not_ready, "CUDA_ERROR_NOT_READY"},
    {illegal_address, "CUDA_ERROR_ILLEGAL_ADDRESS"},
    {launch_out_of_resources, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"},
    {launch_timeout, "CUDA_ERROR_LAUNCH_TIMEOUT"},
    {launch_failed, "CUDA_ERROR_LAUNCH_FAILED"},
    {system_not_ready, "CUDA_ERROR_SYSTEM_NOT_READY"},
    {system_driver_mismatch, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"},
    {illegal_state, "CUDA_ERROR_ILLEGAL_STATE"},
    {capture_unsupported, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
    {capture_invalidated, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"},
    {capture_wrong_thread, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD"},
    {already_registered, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED"},
    {not_registered, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED"},
    {not_supported, "CUDA_ERROR_NOT_SUPPORTED"},
    {unknown_error, "CUDA_ERROR_UNKNOWN"},
};

void* open_library() {
  if (void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)) return library;  // never closed: it has threads
  const char* why = dlerror();
  fail(ENODEV,
       "a CUDA device was asked for, and there is no CUDA driver: {}; install NVIDIA's, or use the device 'cpu'",
       why ? why : "libcuda.so.1 cannot be loaded");
}

[[noreturn]] void fail_init(Result result) {
  if (result == no_device)
    fail(ENODEV, "the CUDA driver finds no device ({}): is there a GPU, and may this process use it?", name_of(result));
  if (result == system_driver_mismatch)
    fail(ENODEV, "the CUDA driver's library and its kernel module are of different versions ({}): reboot, or reload it",
         name_of(result));
  fail(ENODEV, "the CUDA driver does not start ({}): \"nvidia-smi\" may say more", name_of(result));
}

}  // namespace

Driver::Driver() {
  void* const library = open_library();
  const auto find = [&](auto& function, const char* symbol) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, symbol));
    if (!function)
      fail(ENOTSUP, "the CUDA driver has no {}: it is too old; llmos needs one for CUDA {}.{} or later", symbol,
           least_driver_version / 1000, least_driver_version % 1000 / 10);
  };
#define LLMOS_FIND_CALL(name, symbol, parameters) find(name, #symbol);
  LLMOS_DRIVER_CALLS(LLMOS_FIND_CALL)
#undef LLMOS_FIND_CALL
  if (const Result result = init(0)) fail_init(result);
  int version = 0;
  check(driver_version(&version), "ask for the driver's version");
  if (version < least_driver_version)
    fail(ENOTSUP, "the CUDA driver is for CUDA {}.{} and llmos needs {}.{}: install a newer driver", version / 1000,
         version % 1000 / 10, least_driver_version / 1000, least_driver_version % 1000 / 10);
}

const Driver& Driver::get() {
  static std::mutex mutex;
  static std::unique_ptr<const Driver> driver;
  const std::lock_guard lock(mutex);
  if (!driver) driver.reset(new Driver);
  return *driver;
}

std::string name_of(Result result) {
  for (const auto& [number, name] : names)
    if (number == result) return fmt::format("{} ({})", name, result);
  return fmt::format("CUDA error {}", result);
}

bool loses_context(Result result) {
  return result == ecc_uncorrectable || result == unknown_error || result == illegal_address ||
         (result >= launch_timeout && result < 800 && result != 704 && result != 705 &&  // of peer access
          result != already_registered && result != not_registered);
}

void fail_call(Result result, const std::string& what) {
  if (result == out_of_memory)
    fail(ENOMEM, "cannot {}: the device has no memory left; use a smaller context or cache, or a smaller model", what);
  if (loses_context(result))
    fail(EIO,
         "cannot {}: {}; what this engine had on the device is lost. Close it and open another; if that fails too, "
         "start the program anew, and look for \"Xid\" in the kernel's log",
         what, name_of(result));
  fail(EIO, "cannot {}: {}", what, name_of(result));
}

void check(Result result, const char* what) {
  if (result != success) fail_call(result, what);
}

}  // namespace llmos::cuda
