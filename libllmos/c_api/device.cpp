// SPDX-License-Identifier: MIT
#include "device/device.hpp"

#include <cstring>

#include "c_api/guard.hpp"

using namespace llmos::core;

int llmos_devices(llmos_device_fn each, void* context) {
  return guarded([&] {
    need(reinterpret_cast<const void*>(each), "each");
    for (const llmos_device_info& device : devices())
      if (const int result = each(context, &device)) return result;
    return 0;
  });
}

int llmos_device_add(const char* id, uint64_t memory, uint32_t slots) {
  return guarded([&] {
    need(id, "id");
    device_add(id, memory, slots);
  });
}

int llmos_device_remove(const char* id) {
  return guarded([&] {
    need(id, "id");
    device_remove(id);
  });
}

int llmos_device_set(const char* id, uint64_t memory, uint32_t slots) {
  return guarded([&] {
    need(id, "id");
    device_set(id, memory, slots);
  });
}

int llmos_charge_open(const char* device, uint64_t bytes, uint64_t* group) {
  return guarded([&] {
    need(device, "device");
    return charge_open(device, bytes, group);
  });
}

int llmos_charge_set(int charge, uint64_t bytes, uint64_t* group) {
  return guarded([&] { charge_set(charge, bytes, group); });
}

int llmos_group_read(const char* group, const char* control, char* text, size_t size) {
  return guarded([&] {
    need(group, "group");
    need(control, "control");
    const std::string found = group_read(group, control);
    if (size) {
      need(text, "text");
      const size_t copied = std::min(found.size(), size - 1);
      std::memcpy(text, found.data(), copied);
      text[copied] = '\0';
    }
    return static_cast<int>(found.size());
  });
}

int llmos_group_write(const char* group, const char* control, const char* lines) {
  return guarded([&] {
    need(group, "group");
    need(control, "control");
    need(lines, "lines");
    group_write(group, control, lines);
  });
}
