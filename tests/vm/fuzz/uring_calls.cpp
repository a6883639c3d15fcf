// SPDX-License-Identifier: MIT
// Calls that reach models through io_uring: one ring is made, used once and thrown away, often with work under way.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../ring.hpp"
#include "world.hpp"

namespace llmos::fuzz {

using guest::page, guest::Ring;

static constexpr unsigned entries = 8;

enum : uint64_t { plain, opens };  // user data: does the result be a descriptor?

static io_uring_sqe submission(World& world, Random& random, const char* path) {
  static thread_local struct statx statx_result;
  io_uring_sqe sqe = {};
  sqe.fd = world.fd(random, random.pick({Kind::model, Kind::model, Kind::loader}));
  sqe.off = random.pick<uint64_t>({0, 1, page, guest::huge_page});
  sqe.addr = reinterpret_cast<uint64_t>(world.buffer(random));
  sqe.len = static_cast<uint32_t>(random.between(1, World::buffer_size));
  sqe.flags = static_cast<uint8_t>(random.pick({0, 0, 0, static_cast<int>(IOSQE_ASYNC), static_cast<int>(IOSQE_IO_LINK)}));
  sqe.opcode = static_cast<uint8_t>(random.pick({IORING_OP_READ, IORING_OP_READ, IORING_OP_READ_FIXED, IORING_OP_WRITE,
                                                 IORING_OP_WRITE_FIXED, IORING_OP_OPENAT, IORING_OP_STATX, IORING_OP_FADVISE,
                                                 IORING_OP_MADVISE, IORING_OP_FALLOCATE, IORING_OP_FSYNC,
                                                 IORING_OP_URING_CMD, IORING_OP_POLL_ADD, IORING_OP_SPLICE}));
  switch (sqe.opcode) {
    case IORING_OP_OPENAT:
      sqe.user_data = opens;
      sqe.fd = AT_FDCWD;
      sqe.open_flags = O_RDONLY | O_CLOEXEC;
      sqe.len = 0;
      sqe.off = 0;
      sqe.addr = reinterpret_cast<uint64_t>(path);
      break;
    case IORING_OP_STATX:
      sqe.fd = AT_FDCWD;
      sqe.addr = reinterpret_cast<uint64_t>(path);
      sqe.len = 0x7ff;
      sqe.off = reinterpret_cast<uint64_t>(&statx_result);
      break;
    case IORING_OP_MADVISE:
      sqe.fd = -1;
      sqe.off = 0;
      sqe.addr = reinterpret_cast<uint64_t>(World::address(random)) & ~(page - 1);
      sqe.fadvise_advice = random.pick({3U, 4U, 20U, 21U, 22U, 25U});
      break;
    case IORING_OP_FADVISE: sqe.fadvise_advice = static_cast<uint32_t>(random.below(6)); break;
    case IORING_OP_POLL_ADD: sqe.addr = sqe.off = sqe.len = 0; sqe.poll32_events = 1; break;
    case IORING_OP_SPLICE:
      sqe.splice_fd_in = sqe.fd;
      sqe.splice_off_in = 0;
      sqe.fd = world.fd(random, Kind::pipe);
      sqe.off = ~0ULL;
      sqe.splice_flags = 2;  // SPLICE_F_NONBLOCK
      break;
    default: break;
  }
  return sqe;
}

static long uring(World& world, Random& random) {
  const unsigned count = random.between(1, entries), flags = random.pick({0U, 0U, IORING_SETUP_COOP_TASKRUN});
  const bool fixed = random.chance(50), wait = random.chance(85);
  const iovec buffer = {random.chance(50) ? World::address(random) : world.buffer(random), World::buffer_size / 2};
  const std::string path = world.path(random);
  Ring ring(entries, flags);
  if (!ring.usable()) return -errno;
  if (fixed) ring.register_buffer(buffer);
  bool opening = false;
  for (unsigned i = 0; i < count; i++) {
    const io_uring_sqe sqe = submission(world, random, path.c_str());
    opening = opening || sqe.user_data == opens;
    ring.add(sqe);
  }
  const long ret = result(ring.enter(wait || opening ? count : 0, 20'000'000));
  ring.completions([](const io_uring_cqe& done) {
    if (done.user_data == opens && done.res >= 0) close(done.res);
  });
  return ret;
}

std::vector<Call> uring_calls() { return {{"io_uring", 20, uring}}; }

}  // namespace llmos::fuzz
