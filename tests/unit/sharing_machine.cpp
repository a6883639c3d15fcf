// SPDX-License-Identifier: MIT
// Lanes, and engines that share a device, through the library. Runs in a machine with the module, as root.
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <cmath>
#include <functional>
#include <thread>

#include "store_support.hpp"

namespace llmos::test {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

const std::string kModelFile = "/mnt/stories260K-F32.gguf";
const std::string kCgroups = "/sys/fs/cgroup/";

bool eventually(const std::function<bool()>& condition, Clock::duration within = 20s) {
  for (const auto end = Clock::now() + within; Clock::now() < end; std::this_thread::sleep_for(5ms))
    if (condition()) return true;
  return condition();
}

// A device on which no work is done.
class Synthetic {
 public:
  explicit Synthetic(std::string id) : id_(std::move(id)) { Device::add(id_, 1 << 30, 1); }
  ~Synthetic() {
    if (!removed_) Device::remove(id_);
  }
  void remove() {
    Device::remove(id_);
    removed_ = true;
  }
  const std::string& id() const { return id_; }

 private:
  std::string id_;
  bool removed_ = false;
};

// ---- lanes ----

TEST(LaneOfTheLibrary, TakesTurns) {
  const Synthetic device("sharing");
  Lane first(device.id(), {.name = "first", .weight = 200, .lane_class = 3, .deadline = 5ms, .cost = 2ms});
  Lane second(device.id());
  EXPECT_GT(first.acquire().slice, 0ns);
  EXPECT_EQ(second.try_acquire_for(20ms), std::nullopt);
  EXPECT_EQ(second.info().state, LaneState::idle);
  EXPECT_FALSE(second.try_acquire());
  EXPECT_EQ(second.info().state, LaneState::waiting);
  pollfd entry{second.fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&entry, 1, 0), 0);
  first.release(30ms);
  EXPECT_EQ(::poll(&entry, 1, 10000), 1);
  const auto turn = second.try_acquire();
  ASSERT_TRUE(turn);
  EXPECT_GT(turn->waited, 0ns);
  second.release();

  const LaneInfo info = first.info();
  EXPECT_EQ(info.name, "first");
  EXPECT_EQ(info.device, "sharing");
  EXPECT_EQ(info.weight, 200u);
  EXPECT_EQ(info.lane_class, 3u);
  EXPECT_EQ(info.deadline, 5ms);
  EXPECT_EQ(info.cost, 2ms);
  EXPECT_GE(info.used, 30ms);
  EXPECT_EQ(info.turns, 1u);
}

TEST(LaneOfTheLibrary, GoesOnWhileItsSliceLasts) {
  const Synthetic device("sharing");
  Lane first(device.id()), second(device.id());
  const Turn turn = first.acquire();
  EXPECT_FALSE(second.try_acquire());
  first.yield(1us);
  EXPECT_EQ(first.info().turns, 1u);
  EXPECT_FALSE(first.try_yield(turn.slice + 1ms));  // the other's turn now
  EXPECT_TRUE(second.try_acquire());
  second.release(1s);
  EXPECT_TRUE(eventually([&] { return first.try_acquire().has_value(); }));
}

TEST(LaneOfTheLibrary, SaysWhatIsWrong) {
  Synthetic device("sharing");
  EXPECT_ERROR(ENODEV, "device ls", Lane("no-such-device"));
  EXPECT_ERROR(EINVAL, "weights 1 to 10000", Lane(device.id(), {.weight = 10001}));
  Lane lane(device.id()), other(device.id());
  EXPECT_ERROR(EPERM, "has no turn", lane.release());
  EXPECT_ERROR(ENOENT, "does not wait", lane.cancel());
  lane.acquire();
  EXPECT_ERROR(EBUSY, "has a turn already", lane.acquire());
  std::thread waiter([&] { EXPECT_ERROR(ECANCELED, "cancelled", other.acquire()); });
  EXPECT_TRUE(eventually([&] { return other.info().state == LaneState::waiting; }));
  EXPECT_ERROR(EALREADY, "another thread", other.try_acquire());
  other.cancel();
  waiter.join();
  device.remove();
  EXPECT_ERROR(ENODEV, "was removed", lane.release());
  EXPECT_EQ(lane.info().state, LaneState::gone);
}

TEST(LaneOfTheLibrary, IsGivenUpAtTheEndOfItsScope) {
  const Synthetic device("sharing");
  Lane waiting(device.id());
  {
    Lane holder(device.id());
    holder.acquire();
    Lane moved = std::move(holder);
    EXPECT_FALSE(waiting.try_acquire());
  }
  EXPECT_TRUE(eventually([&] { return waiting.try_acquire().has_value(); }));
}

TEST(LaneOfTheLibrary, IsListedWithItsProcess) {
  const Synthetic device("sharing");
  Lane mine(device.id(), {.name = "listed"});
  mine.acquire();
  mine.release(7ms);
  const int copy = ::dup(mine.fd());
  size_t found = 0;
  for (const LaneInfo& lane : Lane::list()) {
    if (lane.id != mine.info().id) continue;
    found++;
    EXPECT_EQ(lane.name, "listed");
    EXPECT_EQ(lane.device, "sharing");
    EXPECT_EQ(lane.pid, ::getpid());
    EXPECT_EQ(lane.cgroup, mine.info().cgroup);
    EXPECT_EQ(lane.state, LaneState::idle);
    EXPECT_EQ(lane.used, mine.info().used);
    EXPECT_EQ(lane.turns, 1u);
  }
  EXPECT_EQ(found, 1u) << "once, though two descriptors have it";
  ::close(copy);
}

// ---- engines ----

class Sharing : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kModelFile)) GTEST_SKIP() << "no " << kModelFile;
    Device::set("cpu", 0, 1);
  }

  static Engine engine(bool share) {
    Store store = Store::memory();
    return Engine(store.load(kModelFile), {.threads = 1, .context = 256, .device_share = share});
  }
  static std::string text(const Engine& engine) {
    return engine.generate("Once upon a time", {.max_tokens = 40, .temperature = 0}).text();
  }
};

TEST_F(Sharing, WritesTheSameTextByTurns) {
  const Engine alone = engine(false), sharing = engine(true);
  EXPECT_EQ(text(alone), text(sharing));
  uint64_t turns = 0;
  for (const LaneInfo& lane : Lane::list())
    if (lane.name == "stories260K-F32.gguf") turns += lane.turns;
  EXPECT_GE(turns, 1u) << "its lane is named as the model";
}

TEST_F(Sharing, GivesUpItsTurnWhenIdle) {
  const Engine sharing = engine(true);
  text(sharing);
  Lane other("cpu");
  EXPECT_TRUE(other.try_acquire_for(1s)) << "long before the kernel would take it away";
}

TEST_F(Sharing, WaitsForItsTurnAndCanBeCancelledThen) {
  const Engine sharing = engine(true);
  Lane holder("cpu");
  holder.acquire();
  Session session = sharing.session();
  session.start("Once upon a time", {.max_tokens = 5, .temperature = 0});
  std::thread canceller([&] {
    std::this_thread::sleep_for(300ms);
    EXPECT_EQ(session.position(), 0u);
    session.cancel();
  });
  EXPECT_ERROR(ECANCELED, "waiting for a turn", session.next());
  canceller.join();
  holder.release();
  EXPECT_TRUE(session.next()) << "it can go on";
}

// A child in a cgroup that writes text for ever.
class Writer {
 public:
  Writer(const std::string& cgroup, uint32_t weight) : cgroup_(cgroup) {
    ::mkdir((kCgroups + cgroup).c_str(), 0755);
    Group(cgroup).set("time.weight", "cpu", std::to_string(weight));
    pid_ = ::fork();
    if (pid_ == 0) ::_exit(run());
  }
  ~Writer() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    eventually([&] { return ::rmdir((kCgroups + cgroup_).c_str()) == 0; });
  }

  double used_seconds() const {
    const std::string stat = Group(cgroup_).read("time.stat"), key = "cpu usage_usec=";
    const size_t at = stat.find(key);
    return at == stat.npos ? NAN : std::stod(stat.substr(at + key.size())) / 1e6;
  }

 private:
  int run() const {
    try {
      std::ofstream(kCgroups + cgroup_ + "/cgroup.procs") << "0" << std::flush;
      Store store = Store::memory();
      const Engine engine(store.load(kModelFile), {.threads = 1, .context = 256, .device_share = true});
      for (Session session = engine.session();; session.reset())
        session.generate("Once upon a time", {.max_tokens = 200, .temperature = 0, .ignore_end = true}).text();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "writer: %s\n", error.what());
      return 1;
    }
  }

  std::string cgroup_;
  pid_t pid_;
};

TEST_F(Sharing, EnginesOfTwoCgroupsShareByWeight) {
  const Writer large("sharing-large", 300), small("sharing-small", 100);
  ASSERT_TRUE(eventually([&] { return large.used_seconds() > 0.5 && small.used_seconds() > 0.5; }, 60s));
  const double large_before = large.used_seconds(), small_before = small.used_seconds();
  std::this_thread::sleep_for(12s);
  const double more_large = large.used_seconds() - large_before, more_small = small.used_seconds() - small_before;
  RecordProperty("share_of_the_larger", std::to_string(more_large / (more_large + more_small)));
  EXPECT_NEAR(100 * more_large / (more_large + more_small), 75, 3);
  EXPECT_GT(more_large + more_small, 10) << "the device was idle";
}

}  // namespace
}  // namespace llmos::test
