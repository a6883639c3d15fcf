// SPDX-License-Identifier: MIT
// Our declarations of the driver's interface against CUDA's own, where a toolkit is installed. Compiled, never run.
#include <cuda.h>

#include "cuda/driver_api.hpp"
#include "cuda/same_call.hpp"

namespace ours = llmos::cuda;

namespace llmos::cuda {
LLMOS_DRIVER_CALLS(CHECK_CALL)
}

static_assert(sizeof(CUresult) == sizeof(ours::Result) && sizeof(CUdevice) == sizeof(ours::DeviceNumber));
static_assert(sizeof(CUdeviceptr) == sizeof(ours::Address));
static_assert(ours::success == CUDA_SUCCESS && ours::invalid_value == CUDA_ERROR_INVALID_VALUE);
static_assert(ours::out_of_memory == CUDA_ERROR_OUT_OF_MEMORY && ours::not_initialized == CUDA_ERROR_NOT_INITIALIZED);
static_assert(ours::no_device == CUDA_ERROR_NO_DEVICE && ours::invalid_device == CUDA_ERROR_INVALID_DEVICE);
static_assert(ours::invalid_image == CUDA_ERROR_INVALID_IMAGE && ours::invalid_context == CUDA_ERROR_INVALID_CONTEXT);
static_assert(ours::no_binary_for_gpu == CUDA_ERROR_NO_BINARY_FOR_GPU);
static_assert(ours::ecc_uncorrectable == CUDA_ERROR_ECC_UNCORRECTABLE);
static_assert(ours::unsupported_ptx_version == CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
static_assert(ours::not_found == CUDA_ERROR_NOT_FOUND && ours::not_ready == CUDA_ERROR_NOT_READY);
static_assert(ours::illegal_address == CUDA_ERROR_ILLEGAL_ADDRESS);
static_assert(ours::launch_out_of_resources == CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES);
static_assert(ours::launch_timeout == CUDA_ERROR_LAUNCH_TIMEOUT && ours::launch_failed == CUDA_ERROR_LAUNCH_FAILED);
static_assert(ours::system_not_ready == CUDA_ERROR_SYSTEM_NOT_READY);
static_assert(ours::system_driver_mismatch == CUDA_ERROR_SYSTEM_DRIVER_MISMATCH);
static_assert(ours::illegal_state == CUDA_ERROR_ILLEGAL_STATE);
static_assert(ours::capture_unsupported == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
static_assert(ours::capture_invalidated == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
static_assert(ours::capture_wrong_thread == CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
static_assert(ours::capture_this_thread == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
static_assert(ours::unknown_error == CUDA_ERROR_UNKNOWN);
static_assert(ours::compute_capability_major == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(ours::compute_capability_minor == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(ours::stream_non_blocking == CU_STREAM_NON_BLOCKING);
static_assert(ours::event_disable_timing == CU_EVENT_DISABLE_TIMING);
static_assert(ours::read_only_host_register_supported == CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED);
static_assert(ours::register_device_map == CU_MEMHOSTREGISTER_DEVICEMAP);
static_assert(ours::register_read_only == CU_MEMHOSTREGISTER_READ_ONLY);
static_assert(ours::already_registered == CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
static_assert(ours::not_registered == CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
static_assert(ours::not_supported == CUDA_ERROR_NOT_SUPPORTED);
