// SPDX-License-Identifier: MIT
// The part of the CUDA driver's interface that llmos uses, declared here so that it builds where no CUDA is installed.
// Where it is, check_driver_api.cpp compares every number and signature with <cuda.h>.
#pragma once

#include <cstddef>
#include <cstdint>

namespace llmos::cuda {

using Result = int;                  // CUresult
using DeviceNumber = int;            // CUdevice
using Address = unsigned long long;  // CUdeviceptr

// Opaque to us; names only keep them apart.
using ContextHandle = struct ContextRecord*;
using StreamHandle = struct StreamRecord*;
using EventHandle = struct EventRecord*;
using ModuleHandle = struct ModuleRecord*;
using FunctionHandle = struct FunctionRecord*;
using GraphHandle = struct GraphRecord*;
using GraphExecHandle = struct GraphExecRecord*;

inline constexpr Result success = 0, invalid_value = 1, out_of_memory = 2, not_initialized = 3, no_device = 100,
                        invalid_device = 101, invalid_image = 200, invalid_context = 201, no_binary_for_gpu = 209,
                        ecc_uncorrectable = 214, unsupported_ptx_version = 222, not_found = 500, not_ready = 600,
                        illegal_address = 700, launch_out_of_resources = 701, launch_timeout = 702, launch_failed = 719,
                        system_not_ready = 802, system_driver_mismatch = 803, capture_unsupported = 900,
                        capture_invalidated = 901, capture_wrong_thread = 908, illegal_state = 401,
                        already_registered = 712, not_registered = 713, not_supported = 801, unknown_error = 999;

inline constexpr int compute_capability_major = 75, compute_capability_minor = 76,  // of CUdevice_attribute
    read_only_host_register_supported = 113;
inline constexpr unsigned register_device_map = 2, register_read_only = 8;  // of cuMemHostRegister
inline constexpr unsigned stream_non_blocking = 1, event_disable_timing = 2;

inline constexpr unsigned capture_this_thread = 1;  // of CUstreamCaptureMode: other threads go on as they like

inline constexpr int least_driver_version = 12000;  // as cuDriverGetVersion counts: 12.0

// USE(function of ours, symbol of the driver, parameters). Symbols are versioned by hand, as cuda.h's macros do.
#define LLMOS_DRIVER_CALLS(USE)                                                                                        \
  USE(init, cuInit, (unsigned flags))                                                                                  \
  USE(driver_version, cuDriverGetVersion, (int* version))                                                              \
  USE(device_count, cuDeviceGetCount, (int* count))                                                                    \
  USE(device_get, cuDeviceGet, (DeviceNumber * device, int ordinal))                                                   \
  USE(device_name, cuDeviceGetName, (char* name, int length, DeviceNumber device))                                     \
  USE(device_attribute, cuDeviceGetAttribute, (int* value, int attribute, DeviceNumber device))                        \
  USE(device_pci_id, cuDeviceGetPCIBusId, (char* id, int length, DeviceNumber device))                                 \
  USE(context_retain, cuDevicePrimaryCtxRetain, (ContextHandle * context, DeviceNumber device))                        \
  USE(context_release, cuDevicePrimaryCtxRelease_v2, (DeviceNumber device))                                            \
  USE(context_push, cuCtxPushCurrent_v2, (ContextHandle context))                                                      \
  USE(context_pop, cuCtxPopCurrent_v2, (ContextHandle * context))                                                      \
  USE(memory_info, cuMemGetInfo_v2, (size_t * free, size_t * total))                                                   \
  USE(allocate, cuMemAlloc_v2, (Address * address, size_t bytes))                                                      \
  USE(free, cuMemFree_v2, (Address address))                                                                           \
  USE(allocate_host, cuMemHostAlloc, (void** memory, size_t bytes, unsigned flags))                                    \
  USE(free_host, cuMemFreeHost, (void* memory))                                                                        \
  USE(host_register, cuMemHostRegister_v2, (void* memory, size_t bytes, unsigned flags))                               \
  USE(host_unregister, cuMemHostUnregister, (void* memory))                                                            \
  USE(host_device_pointer, cuMemHostGetDevicePointer_v2, (Address * address, void* memory, unsigned flags))            \
  USE(fill_async, cuMemsetD8Async, (Address address, unsigned char value, size_t count, StreamHandle stream))          \
  USE(upload_async, cuMemcpyHtoDAsync_v2, (Address to, const void* from, size_t bytes, StreamHandle stream))           \
  USE(download_async, cuMemcpyDtoHAsync_v2, (void* to, Address from, size_t bytes, StreamHandle stream))               \
  USE(stream_create, cuStreamCreate, (StreamHandle * stream, unsigned flags))                                          \
  USE(stream_destroy, cuStreamDestroy_v2, (StreamHandle stream))                                                       \
  USE(stream_synchronize, cuStreamSynchronize, (StreamHandle stream))                                                  \
  USE(capture_begin, cuStreamBeginCapture_v2, (StreamHandle stream, unsigned mode))                                    \
  USE(capture_end, cuStreamEndCapture, (StreamHandle stream, GraphHandle * graph))                                     \
  USE(graph_instantiate, cuGraphInstantiateWithFlags,                                                                  \
      (GraphExecHandle * exec, GraphHandle graph, unsigned long long flags))                                           \
  USE(graph_launch, cuGraphLaunch, (GraphExecHandle exec, StreamHandle stream))                                        \
  USE(graph_exec_destroy, cuGraphExecDestroy, (GraphExecHandle exec))                                                  \
  USE(graph_destroy, cuGraphDestroy, (GraphHandle graph))                                                              \
  USE(event_create, cuEventCreate, (EventHandle * event, unsigned flags))                                              \
  USE(event_destroy, cuEventDestroy_v2, (EventHandle event))                                                           \
  USE(event_record, cuEventRecord, (EventHandle event, StreamHandle stream))                                           \
  USE(event_synchronize, cuEventSynchronize, (EventHandle event))                                                      \
  USE(module_load, cuModuleLoadData, (ModuleHandle * module, const void* image))                                       \
  USE(module_unload, cuModuleUnload, (ModuleHandle module))                                                            \
  USE(module_function, cuModuleGetFunction, (FunctionHandle * function, ModuleHandle module, const char* name))        \
  USE(launch_kernel, cuLaunchKernel,                                                                                   \
      (FunctionHandle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, \
       unsigned block_z, unsigned shared_bytes, StreamHandle stream, void** parameters, void** extra))

}  // namespace llmos::cuda
