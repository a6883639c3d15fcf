// SPDX-License-Identifier: MIT
// What a scheduler of CPUs is told of a thread: whether it has a lane's turn, or feeds one.
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "process.hpp"
#include "ring.hpp"
#include "scheduler.hpp"

namespace llmos::guest {
namespace {

class TaskClasses : public LaneTest {
 protected:
  void SetUp() override {
    LaneTest::SetUp();
    if (!have_policies()) GTEST_SKIP() << "no policies, bpftool or BTF";
    probe_.emplace();
  }
  void TearDown() override {
    probe_.reset();
    LaneTest::TearDown();
  }
  int of(pid_t thread) const { return probe_->of(thread); }
  int mine() const { return of(gettid()); }
  int of_no_task() const { return probe_->of_no_task(); }
  bool becomes(pid_t thread, int wanted) const {
    return eventually([&] { return of(thread) == wanted; });
  }

 private:
  std::optional<ClassProbe> probe_;
};

// A thread of this process that does one thing after the other.
class Helper {
 public:
  Helper() : thread_([this] { loop(); }) {
    while (!id_) std::this_thread::yield();
  }
  ~Helper() { end(); }
  pid_t id() const { return id_; }
  void begin(std::function<void()> work) {
    work_ = std::move(work);
    busy_ = true;
  }
  void finish() const {
    while (busy_) std::this_thread::yield();
  }
  void run(std::function<void()> work) {
    begin(std::move(work));
    finish();
  }
  void end() {
    finish();
    over_ = true;
    if (thread_.joinable()) thread_.join();
  }

 private:
  void loop() {
    id_ = gettid();
    while (!over_) {
      if (busy_) {
        work_();
        busy_ = false;
      }
      usleep(500);
    }
  }
  std::atomic<pid_t> id_ = 0;
  std::atomic<bool> busy_ = false, over_ = false;
  std::function<void()> work_;
  std::thread thread_;
};

TEST_F(TaskClasses, FollowTheTurn) {
  const TestDevice test;
  const Lane lane(test), other(test);
  Helper helper;
  EXPECT_EQ(mine(), none);
  ASSERT_OK(lane.acquire());
  EXPECT_EQ(mine(), holds);
  EXPECT_EQ(of(helper.id()), feeds);  // of the same process
  helper.begin([&] { EXPECT_OK(other.acquire()); });
  EXPECT_TRUE(eventually([&] { return other.state() == LLMOS_LANE_WAITING; }));
  EXPECT_EQ(of(helper.id()), feeds);
  EXPECT_OK(lane.release());
  helper.finish();
  EXPECT_EQ(of(helper.id()), holds);
  EXPECT_EQ(mine(), feeds);
  EXPECT_OK(other.release());
  EXPECT_EQ(of(helper.id()), none);
  EXPECT_EQ(mine(), none);
}

TEST_F(TaskClasses, WaitingAloneFeedsForTheAskerOnly) {
  const TestDevice test;
  const Lane waiter(test);
  Child holder([&](Child::Parent& parent) {
    const Lane lane(test);
    ASSERT_OK(lane.acquire());
    parent.tell();
    parent.wait();
    ASSERT_OK(lane.release());
    parent.tell();
    parent.wait();
  });
  holder.wait();
  EXPECT_EQ(of(holder.pid()), holds);
  Helper helper;
  EXPECT_ERRNO(EAGAIN, waiter.try_acquire());
  EXPECT_EQ(mine(), feeds);
  EXPECT_EQ(of(helper.id()), none);
  EXPECT_OK(waiter.cancel());
  EXPECT_EQ(mine(), none);
  EXPECT_ERRNO(EAGAIN, waiter.try_acquire());
  holder.tell();
  holder.wait();
  EXPECT_EQ(mine(), holds);  // given, not even collected
  EXPECT_EQ(of(holder.pid()), none);
  EXPECT_EQ(of(helper.id()), feeds);
  holder.tell();
}

TEST_F(TaskClasses, YieldKeepsItUntilTheTurnIsAnothers) {
  const TestDevice test;
  const Lane lane(test), other(test);
  Helper helper;
  ASSERT_OK(lane.acquire());
  ASSERT_OK(lane.yield(60 * ms));  // its slice is over, but nobody else waits
  EXPECT_EQ(mine(), holds);
  helper.begin([&] { EXPECT_OK(other.acquire()); });
  EXPECT_TRUE(eventually([&] { return other.state() == LLMOS_LANE_WAITING; }));
  EXPECT_ERRNO(EAGAIN, lane.try_yield(60 * ms));
  helper.finish();
  EXPECT_EQ(mine(), feeds);
  EXPECT_EQ(of(helper.id()), holds);
  helper.run([&] { EXPECT_OK(other.release()); });
  EXPECT_EQ(mine(), holds);
  EXPECT_OK(lane.release());
}

// Not to who made the lane, or has its descriptor.
TEST_F(TaskClasses, BelongToWhoAskedLast) {
  const TestDevice test;
  const Lane lane(test);
  Child child([&](Child::Parent& parent) {
    ASSERT_OK(lane.acquire());
    parent.tell();
    parent.wait();
  });
  child.wait();
  EXPECT_EQ(of(child.pid()), holds);
  EXPECT_EQ(mine(), none);
  child.kill();  // the turn is still had: the descriptor is ours, too
  EXPECT_EQ(lane.state(), static_cast<uint32_t>(LLMOS_LANE_HOLDING));
  EXPECT_EQ(of(child.pid()), -ESRCH);
  EXPECT_EQ(mine(), none);
  EXPECT_OK(lane.release());
  EXPECT_OK(lane.acquire());
  EXPECT_EQ(mine(), holds);
  EXPECT_OK(lane.release());
  EXPECT_EQ(mine(), none);
}

TEST_F(TaskClasses, ChildrenOfAHolderHaveNone) {
  const TestDevice test;
  const Lane lane(test);
  ASSERT_OK(lane.acquire());
  Child child([](Child::Parent& parent) { parent.wait(); });
  EXPECT_EQ(of(child.pid()), none);
  EXPECT_OK(lane.release());
  child.tell();
}

TEST_F(TaskClasses, StayTheProcessesWhenTheAskerEnds) {
  const TestDevice test;
  const Lane lane(test);
  pid_t asker = 0;
  {
    Helper helper;
    asker = helper.id();
    helper.run([&] { EXPECT_OK(lane.acquire()); });
    EXPECT_EQ(of(asker), holds);
  }
  EXPECT_TRUE(becomes(asker, -ESRCH));
  EXPECT_EQ(mine(), feeds);
  EXPECT_OK(lane.yield(1 * ms));  // its turn goes on: nobody asked
  EXPECT_EQ(mine(), feeds);
  EXPECT_OK(lane.release());
  EXPECT_EQ(mine(), none);
}

TEST_F(TaskClasses, CountLanesOneByOne) {
  const TestDevice test("test", 3);
  std::vector<Lane> lanes;
  for (int i = 0; i < 5; i++) {
    lanes.emplace_back(test);
    lanes.back().try_acquire();
  }
  for (int i = 0; i < 5; i++) {
    EXPECT_EQ(mine(), holds) << i;
    EXPECT_OK(lanes[static_cast<size_t>(i)].release());
  }
  EXPECT_EQ(mine(), none);
}

TEST_F(TaskClasses, EndWithTheLaneTheTurnAndTheDevice) {
  const Setting stall(lanes_dir + "stall_ms", "200");
  TestDevice test;
  {
    const Lane lane(test);
    ASSERT_OK(lane.acquire());
    EXPECT_EQ(mine(), holds);
  }
  EXPECT_EQ(mine(), none);  // closed
  const Lane lane(test);
  ASSERT_OK(lane.acquire());
  EXPECT_EQ(mine(), holds);
  EXPECT_TRUE(becomes(gettid(), none));  // the watchdog has taken the turn
  EXPECT_ERRNO(ESTALE, lane.release());
  ASSERT_OK(lane.acquire());
  EXPECT_EQ(mine(), holds);
  EXPECT_OK(test.remove());
  EXPECT_EQ(mine(), none);
}

TEST_F(TaskClasses, ByRingAreTheSubmitters) {
  Ring ring(8);
  if (!ring.usable()) GTEST_SKIP() << "no io_uring";
  const TestDevice test;
  const Lane lane(test), first(test);
  ASSERT_OK(first.acquire());
  auto turn = sized<llmos_lane_turn>();
  io_uring_sqe sqe = {};
  sqe.opcode = IORING_OP_URING_CMD;
  sqe.fd = lane.fd();
  sqe.cmd_op = LLMOS_LANE_ACQUIRE;
  const llmos_lane_command data = {reinterpret_cast<uint64_t>(&turn), 0};
  memcpy(sqe.cmd, &data, sizeof(data));
  ring.add(sqe);
  Helper helper;
  helper.run([&] { EXPECT_EQ(ring.enter(0), 1); });
  EXPECT_EQ(of(helper.id()), feeds);
  EXPECT_OK(first.release());
  EXPECT_EQ(of(helper.id()), holds);
  EXPECT_EQ(mine(), feeds);
  EXPECT_OK(lane.release());
  EXPECT_EQ(of(helper.id()), none);
}

// Kills of holders and waiters leave nobody with a class, and nothing behind: see LaneTest.
TEST_F(TaskClasses, KillsLeaveNobodyWithAClass) {
  const TestDevice test;
  for (int round = 0; round < 20; round++) {
    std::vector<std::unique_ptr<Child>> children;
    for (int i = 0; i < 4; i++)
      children.push_back(std::make_unique<Child>([&](Child::Parent&) {
        const Lane lane(test);
        for (;;) {
          lane.acquire();
          usleep(500);
          lane.release();
        }
      }));
    usleep(static_cast<useconds_t>(5000 + 700 * round));
    for (auto& child : children) child->kill();
  }
  EXPECT_EQ(mine(), none);
  const Lane lane(test);
  EXPECT_OK(lane.acquire(1 * second));
}

TEST_F(TaskClasses, OfWhatIsNoTaskThereIsNone) {
  const TestDevice test;
  const Lane lane(test);
  ASSERT_OK(lane.acquire());  // so that it is looked at
  EXPECT_EQ(of_no_task(), 0);
}

}  // namespace
}  // namespace llmos::guest
