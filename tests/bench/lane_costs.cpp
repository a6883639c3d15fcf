// SPDX-License-Identifier: MIT
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <thread>

#include "../vm/lane.hpp"
#include "../vm/policy.hpp"
#include "../vm/ring.hpp"
#include "lanes.hpp"

namespace llmos::bench {

using guest::Fd, guest::Lane, guest::TestDevice;
using Clock = std::chrono::steady_clock;

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[values.size() / 2];
}

namespace {

void must(bool good, const char* what) {
  if (!good) guest::throw_errno(what);
}

// Of one call, in the least disturbed of ten batches.
double nanoseconds(unsigned times, const std::function<void()>& call) {
  constexpr unsigned batches = 10;
  double least = 1e18;
  for (unsigned batch = 0; batch < batches; batch++) {
    const auto begin = Clock::now();
    for (unsigned i = 0; i < times / batches; i++) call();
    least = std::min(least, std::chrono::duration<double, std::nano>(Clock::now() - begin).count() * batches / times);
  }
  return least;
}

long futex(std::atomic<uint32_t>& word, int operation, uint32_t value) {
  return syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), operation | FUTEX_PRIVATE_FLAG, value, nullptr, nullptr,
                 0);
}

// ---- nobody else wants it: two system calls each ----

void pair_of_lane(const Lane& lane) {
  must(!lane.acquire(), "acquire");
  must(!lane.release(), "release");
}

void pair_of_eventfd(int fd) {
  uint64_t one = 1;
  must(write(fd, &one, sizeof(one)) == sizeof(one), "eventfd");
  must(read(fd, &one, sizeof(one)) == sizeof(one), "eventfd");
}

// A wake of nobody, and a wait that need not be: what a lock in user space would do in the kernel if it had to.
void pair_of_futex(std::atomic<uint32_t>& word) {
  futex(word, FUTEX_WAKE, 1);
  futex(word, FUTEX_WAIT, word + 1);
}

void pair_by_ring(guest::Ring& ring, const Lane& lane, llmos_lane_turn (&turns)[2]) {
  const unsigned long numbers[] = {LLMOS_LANE_ACQUIRE, LLMOS_LANE_RELEASE};
  for (int i = 0; i < 2; i++) {
    turns[i] = guest::sized<llmos_lane_turn>();
    io_uring_sqe sqe = {};
    sqe.opcode = IORING_OP_URING_CMD;
    sqe.fd = lane.fd();
    sqe.cmd_op = static_cast<uint32_t>(numbers[i]);
    sqe.flags = i ? 0 : IOSQE_IO_LINK;
    const llmos_lane_command data = {reinterpret_cast<uint64_t>(&turns[i]), 0};
    memcpy(sqe.cmd, &data, sizeof(data));
    ring.add(sqe);
  }
  must(ring.enter(2) == 2, "io_uring");
  ring.completions([](const io_uring_cqe& done) { must(done.res == 0, "a command by io_uring"); });
}

// ---- hand-off: each of two threads waits for the other, again and again ----

double handoff(unsigned times, const std::function<void(int side)>& step) {
  std::thread other([&] {
    for (unsigned i = 0; i < times; i++) step(1);
  });
  const double each = nanoseconds(times, [&] { step(0); });
  other.join();
  return each / 2;
}

// A lane that yields and a lane that waits: a turn each, since the slice is over each time.
double lane_handoff(const TestDevice& device, unsigned times) {
  const Lane lanes[] = {Lane(device), Lane(device)};
  const auto step = [&](int side) {
    must(!lanes[side].acquire(), "acquire");
    must(!lanes[side].release(), "release");
  };
  return handoff(times, step);
}

double eventfd_handoff(unsigned times) {
  const Fd fds[] = {Fd(eventfd(1, 0)), Fd(eventfd(0, 0))};
  return handoff(times, [&](int side) {
    uint64_t value = 1;
    must(read(fds[side], &value, sizeof(value)) == sizeof(value), "eventfd");
    value = 1;
    must(write(fds[1 - side], &value, sizeof(value)) == sizeof(value), "eventfd");
  });
}

double futex_handoff(unsigned times) {
  std::atomic<uint32_t> turn = 0;
  return handoff(times, [&](int side) {
    for (uint32_t now; (now = turn) != static_cast<uint32_t>(side);) futex(turn, FUTEX_WAIT, now);
    turn = static_cast<uint32_t>(1 - side);
    futex(turn, FUTEX_WAKE, 1);
  });
}

// ---- among many that wait ----

double insertion(const TestDevice& device, size_t waiting, unsigned times) {
  const Lane holder(device);
  must(!holder.acquire(), "acquire");
  std::vector<Lane> crowd;
  for (size_t i = 0; i < waiting; i++) {
    crowd.emplace_back(device);
    must(crowd.back().try_acquire() < 0 && errno == EAGAIN, "queue");
  }
  const Lane lane(device);
  return nanoseconds(times, [&] {
    lane.try_acquire();
    lane.cancel();
  });
}

constexpr unsigned kTimes = 2000;

void measure_round(const TestDevice& device, std::map<std::string, std::vector<double>>& all) {
  const Lane lane(device);
  const Fd event(eventfd(0, 0));
  std::atomic<uint32_t> word = 0;
  guest::Ring ring(8);
  llmos_lane_turn turns[2];
  all["lane, acquire + release"].push_back(nanoseconds(kTimes, [&] { pair_of_lane(lane); }));
  all["eventfd, write + read"].push_back(nanoseconds(kTimes, [&] { pair_of_eventfd(event); }));
  all["futex, wake + wait"].push_back(nanoseconds(kTimes, [&] { pair_of_futex(word); }));
  if (ring.usable())
    all["lane by io_uring, acquire + release"].push_back(nanoseconds(kTimes, [&] { pair_by_ring(ring, lane, turns); }));
  all["lane hand-off"].push_back(lane_handoff(device, kTimes));
  all["eventfd hand-off"].push_back(eventfd_handoff(kTimes));
  all["futex hand-off"].push_back(futex_handoff(kTimes));
  if (!guest::have_policies()) return;
  const guest::Policy policy("shortest");
  all["lane with a policy, gate closed"].push_back(nanoseconds(kTimes, [&] { pair_of_lane(lane); }));
  policy.open_gate();
  all["lane with a policy, answering"].push_back(nanoseconds(kTimes, [&] { pair_of_lane(lane); }));
}

}  // namespace

nlohmann::ordered_json measure_lane_costs(unsigned rounds) {
  const rlimit files = {120000, 120000};
  must(!setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
  const TestDevice device("bench");
  std::map<std::string, std::vector<double>> all;
  measure_round(device, all);  // to warm up
  all.clear();
  for (unsigned round = 0; round < rounds; round++) measure_round(device, all);
  for (const size_t waiting : {10, 1000, 99990}) {
    std::vector<double>& series = all["queue + cancel among " + std::to_string(waiting) + " that wait"];
    for (unsigned round = 0; round < std::min(rounds, waiting > 1000 ? 1u : rounds); round++)
      series.push_back(insertion(device, waiting, kTimes));
  }
  nlohmann::ordered_json json;
  for (const auto& [name, values] : all) json[name] = median(values);
  return json;
}

}  // namespace llmos::bench
