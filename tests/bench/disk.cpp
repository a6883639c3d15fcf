// SPDX-License-Identifier: MIT
#include "disk.hpp"

#include <algorithm>
#include <cstdint>
#include <stdexcept>

#include "../vm/ring.hpp"

namespace llmos::bench {

static io_uring_sqe read_request(int fd, std::span<std::byte> memory, size_t at, bool registered) {
  io_uring_sqe request = {};
  request.opcode = registered ? IORING_OP_READ_FIXED : IORING_OP_READ;
  request.fd = fd;
  request.off = at;
  request.addr = reinterpret_cast<uint64_t>(memory.data() + at);
  request.len = static_cast<uint32_t>(std::min(request_size, memory.size() - at));
  request.user_data = request.len;
  return request;
}

DirectReader::DirectReader(std::span<std::byte> memory) : memory_(memory), ring_(queue_depth) {
  if (!ring_.usable()) guest::throw_errno("io_uring");
  const iovec buffer = {memory.data(), memory.size()};
  registered_ = memory.size() <= (1UL << 30) && ring_.register_buffer(buffer) == 0;
}

// The ring itself goes some time after its last descriptor, and the memory must not stay pinned until then.
DirectReader::~DirectReader() {
  if (registered_) ring_.unregister_buffer();
}

void DirectReader::read(int fd) {
  size_t at = 0;
  unsigned in_flight = 0;
  do {
    for (; in_flight < queue_depth && at < memory_.size(); at += request_size, in_flight++)
      ring_.add(read_request(fd, memory_, at, registered_));
    if (ring_.enter(1) < 0) guest::throw_errno("io_uring_enter");
    ring_.completions([&](const io_uring_cqe& done) {
      in_flight--;
      errno = done.res < 0 ? -done.res : EIO;
      if (done.res < 0 || static_cast<uint64_t>(done.res) != done.user_data) guest::throw_errno("direct read");
    });
  } while (in_flight || at < memory_.size());
}

}  // namespace llmos::bench
