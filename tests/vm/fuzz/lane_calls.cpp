// SPDX-License-Identifier: MIT
// Lanes: turns asked for in every way, taken, given back, lost, and devices that go away under them. Who waits in a
// call has a time-out; the watchdog of the module takes what a killed or forgetful worker holds.
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "../ring.hpp"
#include "world.hpp"

namespace llmos::fuzz {

using guest::Ring;

static constexpr uint64_t us = 1000, ms = 1000 * us;

static int lane_fd(World& world, Random& random) { return world.fd(random, Kind::lane); }

static long make_lane(World& world, Random& random) {
  auto args = guest::sized<llmos_lane_create>();
  device_id(random, args.device);
  if (random.chance(60)) strcpy(args.device, "cpu");  // many for few slots, of a device that stays
  args.flags = static_cast<uint32_t>(random.mostly(0, 99));
  args.weight = static_cast<uint32_t>(random.mostly(random.below(10001), 98));
  args.lane_class = static_cast<uint32_t>(random.garbage());
  args.deadline_ns = random.mostly(0, 70);
  args.cost_ns = random.mostly(random.below(50 * ms), 90);
  if (random.chance(60)) snprintf(args.name, sizeof(args.name), "lane%u", static_cast<unsigned>(random.below(4)));
  if (random.chance(2)) memset(args.name, static_cast<int>(random.next()), sizeof(args.name));
  return world.keep(random, Kind::lane, ioctl(world.fd(random, Kind::device), LLMOS_LANE_CREATE, &args));
}

// Device time that is reported: little, or nothing, and now and then a lie.
static uint64_t used(Random& random) {
  const uint64_t lie = random.garbage(), some = random.below(20 * ms);
  return random.chance(60) ? 0 : random.below(400) ? some : lie;
}

// A wait must not be for ever: either it does not block, or it has a time-out.
static llmos_lane_turn wait_args(Random& random, bool reports) {
  auto args = guest::sized<llmos_lane_turn>();
  args.used_ns = reports ? used(random) : random.mostly(0, 98);
  args.deadline_ns = random.mostly(0, 80);
  args.cost_ns = random.mostly(0, 80);
  args.timeout_ns = random.between(1, 10 * ms);
  if (random.chance(60)) args.flags = LLMOS_LANE_NONBLOCK, args.timeout_ns = random.mostly(0, 97);
  if (random.chance(2)) args.size = static_cast<uint32_t>(random.below(2 * sizeof(args)));
  return args;
}

static long acquire(World& world, Random& random) {
  auto args = wait_args(random, false);
  return result(ioctl(lane_fd(world, random), LLMOS_LANE_ACQUIRE, &args));
}

static long yield_turn(World& world, Random& random) {
  auto args = wait_args(random, true);
  return result(ioctl(lane_fd(world, random), LLMOS_LANE_YIELD, &args));
}

static long release_turn(World& world, Random& random) {
  auto args = guest::sized<llmos_lane_turn>();
  args.used_ns = used(random);
  args.flags = static_cast<uint32_t>(random.mostly(0, 98));
  return result(ioctl(lane_fd(world, random), LLMOS_LANE_RELEASE, &args));
}

// Of a lane that was queued just now, mostly: else hardly any waits.
static long cancel_wait(World& world, Random& random) {
  const int fd = lane_fd(world, random);
  auto queue = guest::sized<llmos_lane_turn>(), args = guest::sized<llmos_lane_turn>();
  queue.flags = LLMOS_LANE_NONBLOCK;
  if (random.chance(80)) ioctl(fd, LLMOS_LANE_ACQUIRE, &queue);
  args.flags = static_cast<uint32_t>(random.mostly(0, 98));
  return result(ioctl(fd, LLMOS_LANE_CANCEL, &args));
}

// A whole turn, as programs take it.
static long take_turn(World& world, Random& random) {
  const int fd = lane_fd(world, random);
  auto args = guest::sized<llmos_lane_turn>();
  args.timeout_ns = random.between(1, 20 * ms);
  if (ioctl(fd, LLMOS_LANE_ACQUIRE, &args)) return -errno;
  if (random.chance(50)) usleep(static_cast<useconds_t>(random.below(300)));
  args = guest::sized<llmos_lane_turn>();
  args.used_ns = used(random);
  return result(ioctl(fd, LLMOS_LANE_RELEASE, &args));
}

static long stat_lane(World& world, Random& random) {
  auto args = guest::sized<llmos_lane_stat>();
  args.size = static_cast<uint32_t>(random.mostly(sizeof(args), 97));
  return result(ioctl(lane_fd(world, random), LLMOS_LANE_STAT, random.chance(97) ? &args : world.buffer(random)));
}

static long poll_lanes(World& world, Random& random) {
  pollfd entries[4];
  for (auto& entry : entries) entry = {lane_fd(world, random), POLLIN | POLLPRI, 0};
  return result(poll(entries, 4, static_cast<int>(random.below(3))));
}

// What every process's descriptors are shown as.
static long show_lane(World& world, Random& random) {
  char path[64];
  snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", lane_fd(world, random));
  const guest::Fd fd(open(path, O_RDONLY | O_CLOEXEC));
  return fd < 0 ? -errno : result(read(fd, world.buffer(random), random.below(World::buffer_size)));
}

// Any bytes, but for commands that might wait for ever.
static long any_lane_ioctl(World& world, Random& random) {
  std::byte bytes[256];
  for (std::byte& byte : bytes) byte = random.chance(70) ? std::byte{0} : static_cast<std::byte>(random.next());
  const uint32_t size = static_cast<uint32_t>(random.mostly(random.between(4, sizeof(bytes))));
  memcpy(bytes, &size, sizeof(size));
  const unsigned long number =
      random.pick<unsigned long>({LLMOS_LANE_RELEASE, LLMOS_LANE_CANCEL, LLMOS_LANE_STAT, LLMOS_LANE_CREATE,
                                  LLMOS_QUERY, LLMOS_CHARGE_SET, _IO(LLMOS_IOC_MAGIC, 0x45), LLMOS_MODEL_SEAL});
  return result(
      ioctl(lane_fd(world, random), number, random.chance(95) ? static_cast<void*>(bytes) : world.buffer(random)));
}

// One ring with some commands, thrown away with those that still wait: its end takes them back.
static long ring_lanes(World& world, Random& random) {
  constexpr unsigned entries = 8;
  llmos_lane_turn turns[entries];
  const unsigned count = random.between(1, entries);
  Ring ring(entries, random.pick({0U, 0U, IORING_SETUP_COOP_TASKRUN}));
  if (!ring.usable()) return -errno;
  for (unsigned i = 0; i < count; i++) {
    turns[i] = guest::sized<llmos_lane_turn>();
    turns[i].timeout_ns = random.chance(50) ? 0 : random.between(1, 10 * ms);
    turns[i].flags = static_cast<uint32_t>(random.mostly(0, 97));
    llmos_lane_command command = {reinterpret_cast<uint64_t>(&turns[i]), random.mostly(0, 98)};
    if (random.chance(3)) command.turn = reinterpret_cast<uint64_t>(world.buffer(random));
    io_uring_sqe sqe = {};
    sqe.opcode = IORING_OP_URING_CMD;
    sqe.fd = lane_fd(world, random);
    sqe.cmd_op =
        static_cast<uint32_t>(random.pick<unsigned long>({LLMOS_LANE_ACQUIRE, LLMOS_LANE_ACQUIRE, LLMOS_LANE_YIELD,
                                                          LLMOS_LANE_RELEASE, LLMOS_LANE_CANCEL, LLMOS_LANE_STAT}));
    if (sqe.cmd_op == LLMOS_LANE_RELEASE || sqe.cmd_op == LLMOS_LANE_CANCEL) turns[i].timeout_ns = 0;
    sqe.flags =
        static_cast<uint8_t>(random.pick({0, 0, 0, static_cast<int>(IOSQE_ASYNC), static_cast<int>(IOSQE_IO_LINK)}));
    memcpy(sqe.cmd, &command, sizeof(command));
    ring.add(sqe);
  }
  long good = 0;
  const long ret = result(ring.enter(random.chance(70) ? count : 0, 4'000'000));
  ring.completions([&](const io_uring_cqe& done) { good += done.res >= 0; });
  return ret < 0 || good ? ret : -EAGAIN;
}

static long set_knob(World&, Random& random) {
  static const char* const knobs[] = {"slice_us", "claim_ms", "stall_ms", "wait_max_ms", "max", "current"};
  static const unsigned long usual[] = {5000, 50, 200, 100, 5000, 0};
  const size_t which = random.below(6);
  char path[64], text[32];
  snprintf(path, sizeof(path), "/sys/fs/llmos/lanes/%s", knobs[which]);
  const int length = snprintf(text, sizeof(text), "%lu", random.mostly(usual[which] * random.between(1, 3), 97));
  const guest::Fd fd(open(path, (random.chance(70) ? O_WRONLY : O_RDONLY) | O_CLOEXEC));
  if (fd < 0) return -errno;
  // Long waits would only make the run slow.
  return strlen(text) > 5 ? -EINVAL : result(write(fd, text, static_cast<size_t>(length)));
}

std::vector<Call> lane_calls() {
  return {
      {"make lane", 40, make_lane},
      {"acquire", 40, acquire},
      {"yield", 30, yield_turn},
      {"release", 30, release_turn},
      {"cancel", 10, cancel_wait},
      {"take a turn", 40, take_turn},
      {"stat of lane", 10, stat_lane},
      {"poll lanes", 15, poll_lanes},
      {"fdinfo of lane", 10, show_lane},
      {"any ioctl on lane", 10, any_lane_ioctl},
      {"lanes by io_uring", 20, ring_lanes},
      {"set knob", 2, set_knob},
  };
}

}  // namespace llmos::fuzz
