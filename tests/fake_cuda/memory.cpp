// SPDX-License-Identifier: MIT
// Memory on the device, pinned memory of the host, and copies between them.
#include "fake_cuda/memory.hpp"

#include <cstdlib>
#include <cstring>

#include "fake_cuda/driver.hpp"

namespace fake_cuda {
namespace {

bool is_pinned(const void* memory, size_t bytes) {
  const auto* first = static_cast<const std::byte*>(memory);
  const auto after = driver().pinned.upper_bound(first);
  if (after == driver().pinned.begin()) return false;
  const auto& [begin, size] = *std::prev(after);
  return first + bytes <= begin + size;
}

}  // namespace
}  // namespace fake_cuda

extern "C" {

Result cuMemGetInfo_v2(size_t* free, size_t* total) {
  CALL(in_context);
  *total = driver().memory.capacity();
  *free = *total - driver().memory.bytes();
  return success;
}

Result cuMemAlloc_v2(Address* address, size_t bytes) {
  CALL(in_context);
  UNSAFE_WHILE_CAPTURING;
  if (bytes == 0) return invalid_value;
  *address = driver().memory.allocate(bytes);
  return *address ? success : out_of_memory;
}

Result cuMemFree_v2(Address address) {
  CALL(in_context);
  UNSAFE_WHILE_CAPTURING;
  if (const Result result = drain_all()) return result;
  std::string violation;
  const bool known = driver().memory.release(address, violation);
  note_violation(violation);
  return known ? success : invalid_value;
}

Result cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
  CALL(in_context);
  UNSAFE_WHILE_CAPTURING;
  *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!*memory) return out_of_memory;
  std::memset(*memory, 0xCB, bytes);
  driver().pinned[static_cast<std::byte*>(*memory)] = bytes;
  return success;
}

Result cuMemFreeHost(void* memory) {
  CALL(in_context);
  UNSAFE_WHILE_CAPTURING;
  if (const Result result = drain_all()) return result;
  if (driver().pinned.erase(static_cast<std::byte*>(memory)) == 0) return invalid_value;
  std::free(memory);
  return success;
}

Result cuMemsetD8Async(Address address, unsigned char value, size_t count, StreamHandle stream) {
  CALL(in_context);
  if (!driver().memory.holds(address, count)) return invalid_value;
  return submit(stream, [=] {
    if (!driver().memory.holds(address, count)) return illegal_address;  // freed since
    std::memset(reinterpret_cast<void*>(address), value, count);
    return success;
  });
}

// Pinned memory is read when the copy is carried out: too early a reuse of it shows. Other memory is read at once.
Result cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, StreamHandle stream) {
  CALL(in_context);
  if (!driver().memory.holds(to, bytes)) return invalid_value;
  std::shared_ptr<std::vector<char>> copy;
  if (!is_pinned(from, bytes))
    copy = std::make_shared<std::vector<char>>(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
  return submit(stream, [=] {
    if (!driver().memory.holds(to, bytes)) return illegal_address;
    std::memcpy(reinterpret_cast<void*>(to), copy ? copy->data() : from, bytes);
    return success;
  });
}

Result cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, StreamHandle stream) {
  CALL(in_context);
  if (!driver().memory.holds(from, bytes)) return invalid_value;
  return submit(stream, [=] {
    if (!driver().memory.holds(from, bytes)) return illegal_address;
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    driver().downloaded += bytes;
    return success;
  });
}

}  // extern "C"
