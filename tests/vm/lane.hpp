// SPDX-License-Identifier: MIT
// Lanes, and devices for them, as the tests use them. Functions named like commands return what ioctl() returns.
#pragma once

#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include <cstdint>
#include <cstring>
#include <string>

#include "groups.hpp"
#include "guest.hpp"
#include "system.hpp"

namespace llmos::guest {

inline constexpr uint64_t us = 1000, ms = 1000 * us, second = 1000 * ms;
inline const std::string lanes_dir = "/sys/fs/llmos/lanes/", hooks_dir = "/sys/fs/llmos/hooks/";

// A device that exists while this does. No work is done on it: tests report what time they like.
class TestDevice {
 public:
  explicit TestDevice(std::string id = "test", uint32_t slots = 1) : id_(std::move(id)) {
    if (add(slots)) throw_errno("LLMOS_DEVICE_ADD");
  }
  TestDevice(const TestDevice&) = delete;
  TestDevice& operator=(const TestDevice&) = delete;
  ~TestDevice() { remove(); }

  const std::string& id() const { return id_; }
  int add(uint32_t slots = 1) { return run(LLMOS_DEVICE_ADD, 1 << 30, slots); }
  int remove() { return run(LLMOS_DEVICE_REMOVE, 0, 0); }

 private:
  int run(unsigned long number, uint64_t memory, uint32_t slots) {
    auto args = sized<llmos_device_args>();
    args.memory = memory;
    args.slots = slots;
    strncpy(args.id, id_.c_str(), sizeof(args.id) - 1);
    return command(device(), number, args);
  }
  std::string id_;
};

struct LaneOptions {
  uint32_t weight = 0, lane_class = 0;
  uint64_t deadline_ns = 0, cost_ns = 0;
  std::string name = {};
};

inline int lane_create(const std::string& device_id, const LaneOptions& options = {}) {
  auto args = sized<llmos_lane_create>();
  args.weight = options.weight;
  args.lane_class = options.lane_class;
  args.deadline_ns = options.deadline_ns;
  args.cost_ns = options.cost_ns;
  strncpy(args.device, device_id.c_str(), sizeof(args.device) - 1);
  strncpy(args.name, options.name.c_str(), sizeof(args.name) - 1);
  return command(device(), LLMOS_LANE_CREATE, args);
}

class Lane {
 public:
  explicit Lane(const TestDevice& device, const LaneOptions& options = {}) : fd_(lane_create(device.id(), options)) {
    if (fd_ < 0) throw_errno("LLMOS_LANE_CREATE");
  }
  explicit Lane(Fd fd) : fd_(std::move(fd)) {}

  int fd() const { return fd_; }
  void close() { fd_.close(); }
  int acquire(uint64_t timeout_ns = 0) const { return turn(LLMOS_LANE_ACQUIRE, 0, 0, timeout_ns); }
  int try_acquire() const { return turn(LLMOS_LANE_ACQUIRE, LLMOS_LANE_NONBLOCK); }
  int yield(uint64_t used_ns) const { return turn(LLMOS_LANE_YIELD, 0, used_ns); }
  int try_yield(uint64_t used_ns) const { return turn(LLMOS_LANE_YIELD, LLMOS_LANE_NONBLOCK, used_ns); }
  int release(uint64_t used_ns = 0) const { return turn(LLMOS_LANE_RELEASE, 0, used_ns); }
  int cancel() const { return turn(LLMOS_LANE_CANCEL); }
  llmos_lane_stat stat() const {
    auto args = sized<llmos_lane_stat>();
    if (command(fd_, LLMOS_LANE_STAT, args)) throw_errno("LLMOS_LANE_STAT");
    return args;
  }
  uint32_t state() const { return stat().state; }
  short polled(int timeout_ms = 0) const {
    pollfd entry = {fd_, POLLIN | POLLPRI, 0};
    return ::poll(&entry, 1, timeout_ms) < 0 ? -1 : entry.revents;
  }

  int turn(unsigned long number, uint32_t flags = 0, uint64_t used_ns = 0, uint64_t timeout_ns = 0) const {
    auto args = sized<llmos_lane_turn>();
    args.flags = flags;
    args.used_ns = used_ns;
    args.timeout_ns = timeout_ns;
    return command(fd_, number, args);
  }

 private:
  Fd fd_;
};

// Many lanes that all want time, and take turns in simulated device time: each step is reported, none takes any.
class Crowd {
 public:
  Crowd() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {}
  // Returns its number.
  size_t add(Lane lane) {
    lanes_.push_back(std::move(lane));
    return lanes_.size() - 1;
  }
  const Lane& operator[](size_t index) const { return lanes_[index]; }
  size_t size() const { return lanes_.size(); }

  // Queues the lane, or every lane from `first` on.
  void enter(size_t index) {
    epoll_event event = {EPOLLIN, {.u64 = index}};
    if (epoll_ctl(epoll_, EPOLL_CTL_ADD, lanes_[index].fd(), &event)) throw_errno("epoll_ctl");
    if (lanes_[index].try_acquire() && errno != EAGAIN) throw_errno("acquire");
  }
  void enter_all(size_t first = 0) {
    for (size_t i = first; i < size(); i++) enter(i);
  }
  void leave(size_t index) {
    epoll_ctl(epoll_, EPOLL_CTL_DEL, lanes_[index].fd(), nullptr);
    if (lanes_[index].state() == LLMOS_LANE_WAITING) lanes_[index].cancel();
    if (lanes_[index].state() == LLMOS_LANE_HOLDING) lanes_[index].release();
  }

  // One turn of whoever has it, in steps, until it is over or `budget` is spent. Returns the lane's number; the time it
  // took is subtracted from the budget.
  size_t turn(uint64_t step_ns, int64_t& budget) {
    epoll_event event = {};
    if (epoll_wait(epoll_, &event, 1, 10000) != 1) throw_errno("epoll_wait");
    const size_t index = event.data.u64;
    if (lanes_[index].try_acquire() && errno != EBUSY) throw_errno("collect");
    for (;;) {
      budget -= static_cast<int64_t>(step_ns);
      if (lanes_[index].try_yield(step_ns)) {
        if (errno != EAGAIN) throw_errno("yield");
        return index;
      }
      if (budget <= 0) return index;
    }
  }
  void run(uint64_t total_ns, uint64_t step_ns) {
    for (auto budget = static_cast<int64_t>(total_ns); budget > 0;) turn(step_ns, budget);
  }

  // Device time charged to lanes [first, last).
  uint64_t used(size_t first, size_t last) const {
    uint64_t sum = 0;
    for (size_t i = first; i < last; i++) sum += lanes_[i].stat().used_ns;
    return sum;
  }

 private:
  Fd epoll_;
  std::vector<Lane> lanes_;
};

// The control files of a cgroup as llmos sees it.
class GroupFiles {
 public:
  explicit GroupFiles(const Cgroup& cgroup) : path_(groups_dir + cgroup.path().substr(strlen("/sys/fs/cgroup"))) {
    mount_groups();
  }
  void set(const std::string& file, const std::string& text) const { must_write(path_ + "/" + file, text); }
  std::string get(const std::string& file) const { return read_file(path_ + "/" + file); }

 private:
  std::string path_;
};

// What runs in it makes lanes that count for that cgroup.
template <typename Make>
auto in_cgroup(const Cgroup& cgroup, Make make) {
  cgroup.enter();
  struct Back {
    ~Back() { must_write("/sys/fs/cgroup/cgroup.procs", "0"); }
  } back;
  return make();
}

// No lane is left behind.
class LaneTest : public ModuleTest {
 protected:
  void SetUp() override {
    ModuleTest::SetUp();
    lanes_before_ = read_number(lanes_dir + "current");
    rlimit files = {65536, 65536};
    setrlimit(RLIMIT_NOFILE, &files);
  }
  void TearDown() override {
    EXPECT_TRUE(eventually([&] { return read_number(lanes_dir + "current") == lanes_before_; }))
        << "lanes were left behind";
    ModuleTest::TearDown();
  }

 private:
  uint64_t lanes_before_ = 0;
};

}  // namespace llmos::guest
