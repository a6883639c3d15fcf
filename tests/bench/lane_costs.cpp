// SPDX-License-Identifier: MIT
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <string>
#include <thread>

#include "../vm/lane.hpp"
#include "../vm/policy.hpp"
#include "../vm/ring.hpp"
#include "lanes.hpp"
#include "series.hpp"

namespace llmos::bench {

using guest::Fd, guest::Lane, guest::TestDevice;
using Clock = std::chrono::steady_clock;

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

// Each yields when its slice is over, so the other has the next turn; where one keeps it, that is no hand-off.
double lane_handoff(const TestDevice& device, unsigned times) {
  constexpr unsigned batches = 10;
  const guest::Setting slice(guest::lanes_dir + "slice_us", "1000");
  std::atomic<unsigned> handoffs = 0;
  std::atomic<int> holder = -1;
  const auto take_turns = [&](int side) {
    const Lane lane(device);
    double least = 1e18;
    must(!lane.acquire(), "acquire");
    auto begin = Clock::now();
    for (unsigned from = handoffs; handoffs < times;) {
      must(!lane.yield(1 * guest::ms), "yield");
      if (holder.exchange(side) != side) handoffs++;
      if (const unsigned now = handoffs; now - from >= times / batches) {
        least = std::min(least, std::chrono::duration<double, std::nano>(Clock::now() - begin).count() / (now - from));
        from = now, begin = Clock::now();
      }
    }
    must(!lane.release(), "release");
    return least;
  };
  std::thread other([&] { take_turns(1); });
  const double each = take_turns(0);
  other.join();
  return each;
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
constexpr size_t kCrowds[] = {10, 1000, 99990};  // with the others of the machine, 100 000 is the most there may be

// ---- rounds ----

using Costs = std::map<std::string, Series>;

const std::string kPair = "lane, acquire + release", kRing = "lane by io_uring, acquire + release",
                  kEventfd = "eventfd, write + read", kFutex = "futex, wake + wait", kLaneHandoff = "lane hand-off",
                  kEventfdHandoff = "eventfd hand-off", kFutexHandoff = "futex hand-off",
                  kClosed = "lane with a policy, gate closed", kAnswering = "lane with a policy, answering";

std::string queue_among(size_t waiting) { return "queue + cancel among " + std::to_string(waiting) + " that wait"; }

void measure_round(const TestDevice& device, Costs& all) {
  const Lane lane(device);
  const Fd event(eventfd(0, 0));
  std::atomic<uint32_t> word = 0;
  guest::Ring ring(8);
  llmos_lane_turn turns[2];
  all[kPair].push_back(nanoseconds(kTimes, [&] { pair_of_lane(lane); }));
  all[kEventfd].push_back(nanoseconds(kTimes, [&] { pair_of_eventfd(event); }));
  all[kFutex].push_back(nanoseconds(kTimes, [&] { pair_of_futex(word); }));
  if (ring.usable()) all[kRing].push_back(nanoseconds(kTimes, [&] { pair_by_ring(ring, lane, turns); }));
  all[kLaneHandoff].push_back(lane_handoff(device, kTimes));
  all[kEventfdHandoff].push_back(eventfd_handoff(kTimes));
  all[kFutexHandoff].push_back(futex_handoff(kTimes));
  for (const size_t waiting : kCrowds) all[queue_among(waiting)].push_back(insertion(device, waiting, kTimes));
  if (!guest::have_policies()) return;
  const guest::Policy policy("shortest");
  all[kClosed].push_back(nanoseconds(kTimes, [&] { pair_of_lane(lane); }));
  policy.open_gate();
  all[kAnswering].push_back(nanoseconds(kTimes, [&] { pair_of_lane(lane); }));
}

nlohmann::ordered_json ratios(const Costs& all) {
  nlohmann::ordered_json json;
  const auto add = [&](const std::string& what, const std::string& of) {
    const auto above = all.find(what), below = all.find(of);
    if (above != all.end() && below != all.end()) json[what + " / " + of] = spread(ratio(above->second, below->second));
  };
  add(kPair, kFutexHandoff);
  add(kPair, kFutex);
  add(kPair, kEventfd);
  add(kLaneHandoff, kFutexHandoff);
  add(kLaneHandoff, kEventfdHandoff);
  add(kRing, kPair);
  add(kClosed, kPair);
  add(kAnswering, kPair);
  for (const size_t waiting : kCrowds) add(queue_among(waiting), queue_among(kCrowds[0]));
  return json;
}

}  // namespace

nlohmann::ordered_json measure_lane_costs(unsigned rounds) {
  const rlimit files = {120000, 120000};
  must(!setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
  const TestDevice device("bench");
  Costs all;
  measure_round(device, all);  // to warm up
  all.clear();
  for (unsigned round = 0; round < rounds; round++) {
    measure_round(device, all);
    fprintf(stderr, "round %u of %u\n", round + 1, rounds);
  }
  nlohmann::ordered_json json;
  for (const auto& [name, values] : all) json["nanoseconds"][name] = spread(values);
  json["ratios"] = ratios(all);
  return json;
}

}  // namespace llmos::bench
