// SPDX-License-Identifier: MIT
// Lanes take turns: how they wait, and what ends a wait or a turn. lane_order.cpp: who is next.
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <atomic>
#include <thread>

#include "lane.hpp"
#include "process.hpp"
#include "ring.hpp"

namespace llmos::guest {
namespace {

using Lanes = LaneTest;
using LaneWait = LaneTest;
using LaneEnd = LaneTest;

io_uring_sqe entry(const Lane& lane, uint32_t number, llmos_lane_turn& turn, uint64_t user_data,
                   uint64_t reserved = 0) {
  io_uring_sqe sqe = {};
  sqe.opcode = IORING_OP_URING_CMD;
  sqe.fd = lane.fd();
  sqe.cmd_op = number;
  sqe.user_data = user_data;
  const llmos_lane_command data = {reinterpret_cast<uint64_t>(&turn), reserved};
  memcpy(sqe.cmd, &data, sizeof(data));
  return sqe;
}

std::map<uint64_t, int> completions(Ring& ring) {
  std::map<uint64_t, int> results;
  ring.completions([&](const io_uring_cqe& cqe) { results[cqe.user_data] = cqe.res; });
  return results;
}

// ---- arguments ----

TEST_F(Lanes, CreateChecksWhatItIsTold) {
  const TestDevice test;
  EXPECT_ERRNO(ENODEV, lane_create("no-such-device"));
  EXPECT_ERRNO(EINVAL, lane_create("test", {.weight = 10001}));
  EXPECT_ERRNO(EINVAL, lane_create("test", {.name = "-x"}));
  EXPECT_ERRNO(EINVAL, lane_create("test", {.name = "a/b"}));
  auto args = sized<llmos_lane_create>();
  strcpy(args.device, "test");
  args.flags = 1;
  EXPECT_ERRNO(EINVAL, command(device(), LLMOS_LANE_CREATE, args));
  args.flags = 0;
  memset(args.name, 'x', sizeof(args.name));
  EXPECT_ERRNO(EINVAL, command(device(), LLMOS_LANE_CREATE, args));
  memset(args.device, 'x', sizeof(args.device));
  EXPECT_ERRNO(EINVAL, command(device(), LLMOS_LANE_CREATE, args));
}

TEST_F(Lanes, StatTellsWhatWasAsked) {
  const TestDevice test;
  const Lane lane(test, {.weight = 7, .lane_class = 3, .deadline_ns = 5, .cost_ns = 6, .name = "chat"});
  const auto stat = lane.stat();
  EXPECT_EQ(stat.weight, 7u);
  EXPECT_EQ(stat.lane_class, 3u);
  EXPECT_EQ(stat.deadline_ns, 5u);
  EXPECT_EQ(stat.cost_ns, 6u);
  EXPECT_STREQ(stat.name, "chat");
  EXPECT_STREQ(stat.device, "test");
  EXPECT_EQ(stat.state, static_cast<uint32_t>(LLMOS_LANE_IDLE));
  EXPECT_NE(stat.cgroup, 0u);
}

TEST_F(Lanes, DescriptorAndDeviceTellWhatThereIs) {
  const TestDevice test;
  const Cgroup cgroup("lanes-shown");
  const Lane lane = in_cgroup(cgroup, [&] { return Lane(test, {.weight = 7, .lane_class = 3, .name = "chat"}); });
  const Lane waiter(test);
  ASSERT_OK(lane.acquire());
  ASSERT_ERRNO(EAGAIN, waiter.try_acquire());
  const std::string shown = read_file("/proc/self/fdinfo/" + std::to_string(lane.fd()));
  for (const std::string& line :
       {"llmos-lane:\t" + std::to_string(lane.stat().id), std::string("llmos-device:\ttest"),
        std::string("llmos-state:\tholding"), std::string("llmos-name:\tchat"),
        "llmos-group:\t" + std::to_string(cgroup.id()), std::string("llmos-weight:\t7"), std::string("llmos-class:\t3"),
        std::string("llmos-turns:\t1"), std::string("llmos-lost:\t0")})
    EXPECT_NE(shown.find(line + "\n"), std::string::npos) << line << " in " << shown;
  // A device that comes back goes on counting, so that only differences tell.
  const auto counted = [](const std::string& field) {
    const std::string stat = read_file(device_file("test", "lanes.stat"));
    return std::stoull(stat.substr(stat.find(field + " ") + field.size() + 1));
  };
  EXPECT_EQ(counted("running"), 1u);
  EXPECT_EQ(counted("waiting"), 1u);
  const uint64_t used = counted("used_usec"), overruns = counted("overruns"), lost = counted("lost");
  ASSERT_OK(lane.release(3 * second));
  EXPECT_EQ(counted("used_usec"), used + 3'000'000);
  EXPECT_EQ(counted("overruns"), overruns + 1);
  EXPECT_EQ(counted("lost"), lost);
}

TEST_F(Lanes, CommandsRefuseWhatMakesNoSense) {
  const TestDevice test;
  const Lane lane(test);
  EXPECT_ERRNO(EPERM, lane.release());
  EXPECT_ERRNO(EPERM, lane.yield(0));
  EXPECT_ERRNO(ENOENT, lane.cancel());
  EXPECT_ERRNO(EINVAL, lane.turn(LLMOS_LANE_ACQUIRE, 2));
  EXPECT_ERRNO(EINVAL, lane.turn(LLMOS_LANE_ACQUIRE, 0, 1));
  EXPECT_ERRNO(EINVAL, lane.turn(LLMOS_LANE_ACQUIRE, LLMOS_LANE_NONBLOCK, 0, 1));
  EXPECT_ERRNO(EINVAL, lane.turn(LLMOS_LANE_RELEASE, LLMOS_LANE_NONBLOCK));
  EXPECT_ERRNO(ENOTTY, lane.turn(LLMOS_MODEL_SEAL));
  EXPECT_OK(lane.acquire());
  EXPECT_ERRNO(EBUSY, lane.acquire());
  EXPECT_ERRNO(ENOENT, lane.cancel());
  EXPECT_OK(lane.release());
}

// ---- waiting ----

TEST_F(LaneWait, InTheCallUntilTheTurnComes) {
  const TestDevice test;
  const Lane holder(test), waiter(test);
  ASSERT_OK(holder.acquire());
  std::thread thread([&] { EXPECT_OK(waiter.acquire()); });
  EXPECT_TRUE(eventually([&] { return waiter.state() == LLMOS_LANE_WAITING; }));
  EXPECT_OK(holder.release());
  thread.join();
  EXPECT_EQ(waiter.state(), static_cast<uint32_t>(LLMOS_LANE_HOLDING));
  EXPECT_GT(waiter.stat().waited_ns, 0u);
  EXPECT_OK(waiter.release());
}

TEST_F(LaneWait, TimeOutLeavesTheQueue) {
  const TestDevice test;
  const Lane holder(test), waiter(test);
  ASSERT_OK(holder.acquire());
  EXPECT_ERRNO(ETIMEDOUT, waiter.acquire(20 * ms));
  EXPECT_EQ(waiter.state(), static_cast<uint32_t>(LLMOS_LANE_IDLE));
  EXPECT_OK(holder.release());
  EXPECT_EQ(waiter.state(), static_cast<uint32_t>(LLMOS_LANE_IDLE));
}

TEST_F(LaneWait, SlotsAreTurnsAtOnce) {
  const TestDevice test("test", 2);
  const Lane first(test), second(test), third(test);
  EXPECT_OK(first.try_acquire());
  EXPECT_OK(second.try_acquire());
  EXPECT_ERRNO(EAGAIN, third.try_acquire());
  EXPECT_OK(first.release());
  EXPECT_OK(third.try_acquire());
}

TEST_F(LaneWait, PollTellsWhenATurnIsThereToCollect) {
  const TestDevice test;
  const Lane holder(test), waiter(test);
  ASSERT_OK(holder.acquire());
  EXPECT_ERRNO(EAGAIN, waiter.try_acquire());
  EXPECT_ERRNO(EAGAIN, waiter.try_acquire());
  EXPECT_EQ(waiter.polled(10), 0);
  EXPECT_OK(holder.release());
  EXPECT_EQ(waiter.polled(10000), POLLIN);
  EXPECT_OK(waiter.try_acquire());
  EXPECT_ERRNO(EBUSY, waiter.try_acquire());
  EXPECT_OK(waiter.release());
  EXPECT_EQ(waiter.polled(), 0);
}

TEST_F(LaneWait, ATurnThatNobodyCollectsIsLost) {
  const Setting claim(lanes_dir + "claim_ms", "100");
  const TestDevice test;
  const Lane holder(test), waiter(test), next(test);
  ASSERT_OK(holder.acquire());
  EXPECT_ERRNO(EAGAIN, waiter.try_acquire());
  EXPECT_OK(holder.release());
  EXPECT_OK(next.acquire(30 * second));
  EXPECT_EQ(waiter.polled(), POLLPRI);
  EXPECT_ERRNO(ESTALE, waiter.release());
  EXPECT_ERRNO(EPERM, waiter.release());  // told once
  EXPECT_EQ(waiter.stat().lost, 1u);
}

TEST_F(LaneWait, OneAskerAtATime) {
  const TestDevice test;
  const Lane holder(test), waiter(test);
  ASSERT_OK(holder.acquire());
  std::thread thread([&] { EXPECT_ERRNO(ECANCELED, waiter.acquire()); });
  EXPECT_TRUE(eventually([&] { return errno_of([&] { return waiter.try_acquire(); }) == EALREADY; }));
  EXPECT_ERRNO(EALREADY, waiter.acquire());
  EXPECT_ERRNO(EALREADY, waiter.release());
  EXPECT_OK(waiter.cancel());
  thread.join();
}

TEST_F(LaneWait, ASignalEndsTheCall) {
  const TestDevice test;
  const Lane holder(test), waiter(test);
  ASSERT_OK(holder.acquire());
  Child child([&](Child::Parent& parent) {
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, nullptr);
    parent.tell();
    EXPECT_ERRNO(EINTR, waiter.acquire());
    EXPECT_ERRNO(EPERM, waiter.release());
  });
  child.wait();
  EXPECT_TRUE(eventually([&] { return waiter.state() == LLMOS_LANE_WAITING; }));
  ::kill(child.pid(), SIGUSR1);
  child.join();
}

TEST_F(LaneWait, ClosingItInAnotherThreadWaitsForTheCall) {
  const TestDevice test;
  const Lane holder(test);
  Lane waiter(test);
  ASSERT_OK(holder.acquire());
  const int fd = waiter.fd();
  std::thread thread([fd] {
    auto args = sized<llmos_lane_turn>();
    args.timeout_ns = 300 * ms;
    EXPECT_ERRNO(ETIMEDOUT, command(fd, LLMOS_LANE_ACQUIRE, args));
  });
  EXPECT_TRUE(eventually([&] { return waiter.state() == LLMOS_LANE_WAITING; }));
  waiter.close();
  thread.join();
  EXPECT_OK(holder.release());
}

// ---- io_uring ----

TEST_F(LaneWait, IoUringCompletesWhenTheTurnComes) {
  const TestDevice test;
  const Lane holder(test), waiter(test);
  Ring ring(8);
  ASSERT_TRUE(ring.usable());
  auto turn = sized<llmos_lane_turn>(), used = sized<llmos_lane_turn>();
  used.used_ns = 3 * ms;
  ring.add(entry(holder, LLMOS_LANE_ACQUIRE, turn, 1));
  ring.enter(1);
  EXPECT_EQ(completions(ring)[1], 0);
  ring.add(entry(waiter, LLMOS_LANE_ACQUIRE, turn, 2));
  ring.enter(1, 50 * ms);
  EXPECT_TRUE(completions(ring).empty());
  EXPECT_ERRNO(EALREADY, waiter.try_acquire());
  ring.add(entry(holder, LLMOS_LANE_RELEASE, used, 3));
  ring.enter(2, 10 * second);
  auto results = completions(ring);
  EXPECT_EQ(results.at(2), 0);
  EXPECT_EQ(results.at(3), 0);
  EXPECT_EQ(waiter.state(), static_cast<uint32_t>(LLMOS_LANE_HOLDING));
  EXPECT_GE(holder.stat().used_ns, 3 * ms);
  EXPECT_OK(waiter.release());
}

TEST_F(LaneWait, IoUringHasATimeOutAndACancelCommand) {
  const TestDevice test;
  const Lane holder(test), waiter(test);
  ASSERT_OK(holder.acquire());
  Ring ring(8);
  ASSERT_TRUE(ring.usable());
  auto turn = sized<llmos_lane_turn>(), plain = sized<llmos_lane_turn>();
  turn.timeout_ns = 20 * ms;
  ring.add(entry(waiter, LLMOS_LANE_ACQUIRE, turn, 1));
  ring.enter(1, 10 * second);
  EXPECT_EQ(completions(ring)[1], -ETIMEDOUT);
  ring.add(entry(waiter, LLMOS_LANE_ACQUIRE, plain, 2));
  ring.enter(0);
  EXPECT_EQ(waiter.state(), static_cast<uint32_t>(LLMOS_LANE_WAITING));
  ring.add(entry(waiter, LLMOS_LANE_CANCEL, plain, 3));
  ring.enter(2, 10 * second);
  auto results = completions(ring);
  EXPECT_EQ(results[2], -ECANCELED);
  EXPECT_EQ(results[3], 0);
  EXPECT_EQ(waiter.state(), static_cast<uint32_t>(LLMOS_LANE_IDLE));
}

TEST_F(LaneWait, IoUringRefusesWhatItCannotDo) {
  const TestDevice test;
  const Lane lane(test);
  Ring ring(8);
  ASSERT_TRUE(ring.usable());
  auto turn = sized<llmos_lane_turn>();
  turn.flags = LLMOS_LANE_NONBLOCK;
  ring.add(entry(lane, LLMOS_LANE_ACQUIRE, turn, 1));
  ring.add(entry(lane, LLMOS_LANE_STAT, turn, 2));
  auto bad = entry(lane, LLMOS_LANE_ACQUIRE, turn, 3);
  memset(bad.cmd, 0xff, 8);
  ring.add(bad);
  ring.add(entry(lane, LLMOS_LANE_ACQUIRE, turn, 4, 1));
  ring.enter(4, 10 * second);
  auto results = completions(ring);
  EXPECT_EQ(results[1], -EINVAL);
  EXPECT_EQ(results[2], -ENOTTY);
  EXPECT_EQ(results[3], -EFAULT);
  EXPECT_EQ(results[4], -EINVAL);
}

TEST_F(LaneWait, IoUringsEndTakesTheCommandBack) {
  const TestDevice test;
  const Lane holder(test);
  ASSERT_OK(holder.acquire());
  for (const bool killed : {false, true}) {
    Child child([&](Child::Parent& parent) {
      const Lane waiter(test);
      Ring ring(8);
      auto turn = sized<llmos_lane_turn>();
      ring.add(entry(waiter, LLMOS_LANE_ACQUIRE, turn, 1));
      ring.enter(0);
      EXPECT_EQ(waiter.state(), static_cast<uint32_t>(LLMOS_LANE_WAITING));
      parent.tell();
      if (killed) pause();
    });
    child.wait();
    if (killed)
      child.kill();
    else
      child.join();
    EXPECT_TRUE(eventually([&] { return read_number(lanes_dir + "current") == 1; }, 20)) << killed;
  }
}

// ---- what ends a turn ----

// At once: times are so long that the watchdog, which would do it too, does not look before.
TEST_F(LaneEnd, KillOfAHolderGivesTheTurnToTheNext) {
  const Setting slice(lanes_dir + "slice_us", "10000000"), claim(lanes_dir + "claim_ms", "60000");
  const TestDevice test;
  const Lane waiter(test);
  Child child([&](Child::Parent& parent) {
    const Lane holder(test);
    EXPECT_OK(holder.acquire());
    parent.tell();
    pause();
  });
  child.wait();
  EXPECT_ERRNO(EAGAIN, waiter.try_acquire());
  child.kill();
  EXPECT_EQ(waiter.polled(10000), POLLIN);
}

// Who waits in the call, who polls, who waits by io_uring: for ever, or until it fails.
void wait_in_call(const TestDevice& test) {
  const Lane lane(test);
  while (!lane.acquire() && !lane.yield(100 * ms) && !lane.release(1 * ms)) {
  }
}

void wait_by_poll(const TestDevice& test) {
  const Lane lane(test);
  while (lane.try_acquire() == 0 || (errno == EAGAIN && lane.polled(1000) > 0 && lane.try_acquire() == 0))
    if (lane.release(1 * ms)) return;
}

void wait_by_ring(const TestDevice& test) {
  const Lane lane(test);
  Ring ring(8);
  auto turn = sized<llmos_lane_turn>();
  for (int result = 0; result == 0;) {
    ring.add(entry(lane, LLMOS_LANE_ACQUIRE, turn, 1));
    ring.enter(1);
    result = completions(ring)[1] || lane.release(1 * ms);
  }
}

// LLMOS_KILL_MOMENTS: how often; LLMOS_SEED chooses them.
TEST_F(LaneEnd, KillOfWaitersAndHoldersAtRandomMomentsLosesNothing) {
  const TestDevice test("test", 2);
  const char *const moments = getenv("LLMOS_KILL_MOMENTS"), *const seed = getenv("LLMOS_SEED");
  srand(seed ? static_cast<unsigned>(atoi(seed)) : 1);
  for (int round = 0; round < (moments ? atoi(moments) : 40); round++) {
    Child child([&](Child::Parent& parent) {
      std::vector<std::thread> threads;
      for (const auto wait : {wait_in_call, wait_in_call, wait_in_call, wait_by_poll, wait_by_ring})
        threads.emplace_back(wait, std::cref(test));
      parent.tell();
      for (auto& thread : threads) thread.join();
    });
    child.wait();
    usleep(static_cast<useconds_t>(rand() % 20000));
    child.kill();
  }
  EXPECT_TRUE(eventually([&] { return read_number(lanes_dir + "current") == 0; }));
  const Lane first(test), second(test), third(test);
  EXPECT_OK(first.try_acquire());
  EXPECT_OK(second.try_acquire());
  EXPECT_ERRNO(EAGAIN, third.try_acquire());
}

TEST_F(LaneEnd, ADescriptorThatWasPassedOnKeepsTheTurn) {
  const Setting slice(lanes_dir + "slice_us", "10000000"), claim(lanes_dir + "claim_ms", "60000");
  const TestDevice test;
  const Lane waiter(test);
  int sockets[2];
  ASSERT_OK(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets));
  Fd ours(sockets[0]), theirs(sockets[1]);
  {
    Lane holder(test);
    ASSERT_OK(holder.acquire());
    char byte = 0;
    iovec data = {&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message = {};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    *header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    const int fd = holder.fd();
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    ASSERT_EQ(sendmsg(ours, &message, 0), 1);
  }
  EXPECT_ERRNO(ETIMEDOUT, waiter.acquire(50 * ms));
  theirs.close();  // with the message in it
  EXPECT_OK(waiter.acquire(10 * second));
}

TEST_F(LaneEnd, AStalledHolderLosesItsTurn) {
  const Setting stall(lanes_dir + "stall_ms", "100");
  const TestDevice test;
  const Lane holder(test), waiter(test);
  ASSERT_OK(holder.acquire());
  EXPECT_OK(waiter.acquire(20 * second));
  EXPECT_ERRNO(ESTALE, holder.yield(0));
  EXPECT_GE(holder.stat().used_ns, 100 * ms);  // what it blocked is charged
  EXPECT_EQ(holder.stat().lost, 1u);
  EXPECT_OK(waiter.release());
  EXPECT_OK(holder.acquire());
  EXPECT_OK(holder.release());
}

TEST_F(LaneEnd, RemovalOfTheDeviceFailsEverybody) {
  TestDevice test;
  const Lane holder(test), sleeper(test), polling(test), ringing(test), idle(test);
  Ring ring(8);
  ASSERT_TRUE(ring.usable());
  auto turn = sized<llmos_lane_turn>();
  ASSERT_OK(holder.acquire());
  EXPECT_ERRNO(EAGAIN, polling.try_acquire());
  ring.add(entry(ringing, LLMOS_LANE_ACQUIRE, turn, 1));
  ring.enter(0);
  std::thread thread([&] { EXPECT_ERRNO(ENODEV, sleeper.acquire()); });
  EXPECT_TRUE(eventually([&] { return sleeper.state() == LLMOS_LANE_WAITING; }));
  ASSERT_OK(test.remove());
  thread.join();
  ring.enter(1, 10 * second);
  EXPECT_EQ(completions(ring)[1], -ENODEV);
  EXPECT_TRUE(polling.polled(10000) & POLLHUP);
  EXPECT_ERRNO(ENODEV, polling.try_acquire());
  EXPECT_ERRNO(ENODEV, holder.release(5 * ms));
  EXPECT_ERRNO(ENODEV, idle.acquire());
  EXPECT_EQ(idle.state(), static_cast<uint32_t>(LLMOS_LANE_GONE));

  ASSERT_OK(test.add());  // lanes of before stay dead, new ones live
  EXPECT_ERRNO(ENODEV, idle.acquire());
  const Lane fresh(test);
  EXPECT_OK(fresh.acquire());
}

int poll_for_turn(const Lane& lane) {
  for (;;) {
    const int result = lane.try_acquire();
    if (result == 0 || errno != EAGAIN) return result;
    lane.polled(1000);
  }
}

// Whatever was under way, it ends with ENODEV or well, and the device that is there at last has all of its slots.
TEST_F(LaneEnd, ADeviceThatComesAndGoesUnderLoadLosesNothing) {
  const Setting claim(lanes_dir + "claim_ms", "60000"), stall(lanes_dir + "stall_ms", "60000");
  TestDevice test("test", 2);
  std::atomic<bool> stop = false;
  std::atomic<uint64_t> turns = 0, failed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++)
    threads.emplace_back([&, i] {
      const auto went_well = [&](int result) {
        if (result == 0) return true;
        EXPECT_EQ(errno, ENODEV) << error_name(errno);
        failed++;
        return false;
      };
      while (!stop) {
        const Lane lane(Fd(lane_create("test")));
        if (!went_well(lane.fd() < 0 ? -1 : 0)) continue;
        while (!stop && went_well(i % 2 ? lane.acquire() : poll_for_turn(lane)) && went_well(lane.release(1 * ms)))
          turns++;
      }
    });
  for (int round = 0; round < 100; round++) {
    const uint64_t before = turns;
    const bool alive = eventually([&] { return turns > before; });
    EXPECT_TRUE(alive) << "no turn in round " << round;
    EXPECT_OK(test.remove());
    usleep(1000);
    EXPECT_OK(test.add(2));
    if (!alive) break;
  }
  stop = true;
  EXPECT_OK(test.remove());  // ends every wait, also those that should not be any more
  for (auto& thread : threads) thread.join();
  EXPECT_GT(failed, 0u);
  ASSERT_OK(test.add(2));
  const Lane first(test), second(test), third(test);
  EXPECT_OK(first.try_acquire());
  EXPECT_OK(second.try_acquire());
  EXPECT_ERRNO(EAGAIN, third.try_acquire());
}

TEST_F(Lanes, TheLastEighthIsForAdministrators) {
  const TestDevice test;
  ASSERT_EQ(read_number(lanes_dir + "current"), 0u);
  const Setting most(lanes_dir + "max", "80");
  const auto as_many_as_may_be = [] {
    std::vector<Fd> lanes;
    while (lanes.empty() || lanes.back() >= 0) lanes.emplace_back(lane_create("test"));
    EXPECT_EQ(errno, ENOSPC) << error_name(errno);
    lanes.pop_back();
    return lanes;
  };
  Child user(bob, [&](Child::Parent& parent) {
    const auto lanes = as_many_as_may_be();
    EXPECT_EQ(lanes.size(), 70u);
    parent.tell();
    parent.wait();
  });
  user.wait();
  EXPECT_EQ(as_many_as_may_be().size(), 10u);
  user.tell();
  user.join();
}

// Frozen, stopped or traced for a moment, a thread is told so: what it reported cannot be reported again.
TEST_F(Lanes, YieldThatIsInterruptedSaysSo) {
  const TestDevice test;
  const Lane other(test);
  Child child([&](Child::Parent& parent) {
    const Lane lane(test);
    ASSERT_OK(lane.acquire());
    parent.tell();
    parent.wait();
    EXPECT_ERRNO(EINTR, lane.yield(10 * second));
    EXPECT_GE(lane.stat().used_ns, 10 * second);
    EXPECT_EQ(lane.state(), uint32_t{LLMOS_LANE_IDLE});
    parent.tell();
  });
  child.wait();
  EXPECT_ERRNO(EAGAIN, other.try_acquire());
  child.tell();
  ASSERT_TRUE(eventually([&] { return other.state() == LLMOS_LANE_HOLDING; }));
  ASSERT_OK(kill(child.pid(), SIGSTOP));
  usleep(100000);
  ASSERT_OK(kill(child.pid(), SIGCONT));
  child.wait();
  child.join();
}

TEST_F(Lanes, AHundredThousandLanes) {
  const TestDevice test;
  rlimit files = {120000, 120000};
  ASSERT_OK(setrlimit(RLIMIT_NOFILE, &files));
  const uint64_t limit = read_number(lanes_dir + "max");
  {
    std::vector<Fd> lanes;
    const Lane holder(test);
    ASSERT_OK(holder.acquire());
    auto turn = sized<llmos_lane_turn>();
    turn.flags = LLMOS_LANE_NONBLOCK;
    while (lanes.size() + 1 < limit) {
      lanes.emplace_back(lane_create("test"));
      ASSERT_GE(lanes.back(), 0) << lanes.size() << ": " << error_name(errno);
      ASSERT_ERRNO(EAGAIN, command(lanes.back(), LLMOS_LANE_ACQUIRE, turn));
    }
    EXPECT_ERRNO(ENOSPC, lane_create("test"));
  }
}

}  // namespace
}  // namespace llmos::guest
