// SPDX-License-Identifier: MIT
// The driver itself, its devices, and the context of the one that can be used.
#include <cstdio>
#include <cstdlib>

#include "fake_cuda/driver.hpp"

namespace fake_cuda {
namespace {

template <typename Set>
void forget_all(Set& set) {
  for (auto* one : set) delete one;
  set.clear();
}

// The last user has left: whatever is still there goes.
void end_context() {
  Driver& d = driver();
  d.left_behind += d.streams.size() + d.events.size() + d.modules.size() + d.memory.blocks() + d.pinned.size() +
                   d.graphs.size() + d.executables.size() + d.registered.count();
  forget_all(d.graphs);
  forget_all(d.executables);
  forget_all(d.streams);
  forget_all(d.events);
  forget_all(d.modules);
  d.memory.clear();
  for (const auto& [memory, size] : d.pinned) std::free(const_cast<std::byte*>(memory));
  d.pinned.clear();
  d.registered.clear();
  d.lost = success;
}

}  // namespace
}  // namespace fake_cuda

extern "C" {

Result cuInit(unsigned flags) {
  CALL(ends);
  if (call.result != success) return call.result;
  if (flags != 0) return invalid_value;
  if (driver().settings.init != success) return driver().settings.init;
  driver().initialised = true;
  return success;
}

Result cuDriverGetVersion(int* version) {
  CALL(plain);
  *version = driver().settings.version;
  return success;
}

Result cuDeviceGetCount(int* count) {
  CALL(plain);
  *count = driver().settings.devices;
  return success;
}

Result cuDeviceGet(DeviceNumber* device, int ordinal) {
  CALL(plain);
  if (ordinal < 0 || ordinal >= driver().settings.devices) return invalid_device;
  *device = ordinal;
  return success;
}

Result cuDeviceGetName(char* name, int length, DeviceNumber) {
  CALL(plain);
  std::snprintf(name, static_cast<size_t>(length), "%s", driver().settings.name.c_str());
  return success;
}

Result cuDeviceGetAttribute(int* value, int attribute, DeviceNumber) {
  CALL(plain);
  switch (attribute) {
    case compute_capability_major:
      *value = driver().settings.major;
      return success;
    case compute_capability_minor:
      *value = driver().settings.minor;
      return success;
    case read_only_host_register_supported:
      *value = driver().settings.registers_read_only;
      return success;
    default:
      return invalid_value;
  }
}

Result cuDeviceGetPCIBusId(char* id, int length, DeviceNumber device) {
  CALL(plain);
  std::snprintf(id, static_cast<size_t>(length), "0000:%02X:00.0", 0xAA + device);
  return success;
}

Result cuDevicePrimaryCtxRetain(ContextHandle* context, DeviceNumber) {
  CALL(plain);
  driver().users++;
  *context = the_context();
  return success;
}

Result cuDevicePrimaryCtxRelease_v2(DeviceNumber) {
  CALL(ends);
  if (driver().users == 0) return invalid_context;
  if (--driver().users == 0) end_context();
  return call.result;
}

Result cuCtxPushCurrent_v2(ContextHandle context) {
  CALL(plain);
  if (context != the_context() || driver().users == 0) return invalid_context;
  current_contexts().push_back(context);
  return success;
}

Result cuCtxPopCurrent_v2(ContextHandle* context) {
  CALL(ends);
  std::vector<ContextHandle>& current = current_contexts();
  if (current.empty()) return invalid_context;
  *context = current.back();
  current.pop_back();
  return call.result;
}

}  // extern "C"
