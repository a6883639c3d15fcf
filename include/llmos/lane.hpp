// SPDX-License-Identifier: MIT
// Lanes, in C++. Part of llmos.hpp; lane.h has the comments.
//
//   llmos::Lane lane("cpu", {.name = "chat"});
//   lane.acquire();
//   ... one step of work on the device ...
//   lane.release(used);  // or yield(used), and the next step
#ifndef LLMOS_LLMOS_HPP
#error "include <llmos/llmos.hpp>"
#endif
#ifndef LLMOS_LANE_HPP
#define LLMOS_LANE_HPP

#include <chrono>

namespace llmos {

struct LaneOptions {
  std::string name = {};                   // for people and policies; at most 31 characters
  uint32_t weight = 0;                     // among the lanes of this cgroup, 1 to 10000; 0: 100
  uint32_t lane_class = 0;                 // for policies
  std::chrono::nanoseconds deadline = {};  // within which each turn is wanted; 0: none
  std::chrono::nanoseconds cost = {};      // device time that a turn is expected to take; 0: not known
};

struct Turn {
  std::chrono::nanoseconds slice = {};   // how long it should be
  std::chrono::nanoseconds waited = {};  // for it
};

enum class LaneState : uint32_t {
  idle = LLMOS_LANE_IDLE,
  waiting = LLMOS_LANE_WAITING,
  holding = LLMOS_LANE_HOLDING,
  gone = LLMOS_LANE_GONE,
};

struct LaneInfo {
  uint64_t id = 0;
  std::string device, name;
  LaneState state = LaneState::idle;
  uint64_t cgroup = 0;  // its directory's inode number
  uint32_t weight = 0, lane_class = 0;
  std::chrono::nanoseconds used = {}, waited = {}, slice = {}, deadline = {}, cost = {};
  uint64_t turns = 0;
  uint32_t overruns = 0, lost = 0;
  pid_t pid = 0;  // one of the processes that have it; 0 where that was not asked

  LaneInfo() = default;
  explicit LaneInfo(const struct llmos_lane_stat& c, pid_t process = 0)
      : id(c.id),
        device(c.device),
        name(c.name),
        state(static_cast<LaneState>(c.state)),
        cgroup(c.cgroup),
        weight(c.weight),
        lane_class(c.lane_class),
        used(c.used_ns),
        waited(c.waited_ns),
        slice(c.slice_ns),
        deadline(c.deadline_ns),
        cost(c.cost_ns),
        turns(c.turns),
        overruns(c.overruns),
        lost(c.lost),
        pid(process) {}
};

// A stream of work on one device, counted for the cgroup that this process is in when it is made. It gives up its turn,
// or its place in the queue, when it goes out of scope. One thread at a time may wait on it.
class Lane {
 public:
  using Time = std::chrono::nanoseconds;

  Lane() = default;
  explicit Lane(const std::string& device, const LaneOptions& options = {}) {
    struct llmos_lane_create c {};
    c.size = sizeof(c);
    put(c.device, device, "device");
    put(c.name, options.name, "lane");
    c.weight = options.weight;
    c.lane_class = options.lane_class;
    c.deadline_ns = nanoseconds(options.deadline);
    c.cost_ns = nanoseconds(options.cost);
    fd_ = detail::check(llmos_lane_open(&c));
  }
  explicit Lane(const Device& device, const LaneOptions& options = {}) : Lane(device.id, options) {}
  Lane(Lane&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Lane& operator=(Lane&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Lane() {
    if (fd_ >= 0) ::close(fd_);
  }

  // Waits for a turn, also over signals.
  Turn acquire() {
    for (;;)
      if (const auto turn = take(llmos_lane_acquire, {}, EINTR)) return *turn;
  }
  // Nothing: not yet. The lane stays in the queue; when fd() polls readable, another call collects the turn.
  std::optional<Turn> try_acquire() { return take(llmos_lane_acquire, {.flags = LLMOS_LANE_NONBLOCK}, EAGAIN); }
  // Nothing: the time passed, and the lane has left the queue.
  std::optional<Turn> try_acquire_for(Time timeout) {
    return take(llmos_lane_acquire, {.timeout_ns = std::max<uint64_t>(1, nanoseconds(timeout))}, ETIMEDOUT);
  }

  // Reports device time and goes on: with the same turn while its slice lasts, or with another, waited for.
  Turn yield(Time used) {
    const auto turn = take(llmos_lane_yield, {.used_ns = nanoseconds(used)}, EINTR);
    return turn ? *turn : acquire();  // it was reported before a signal came
  }
  // Nothing: another turn is asked for, as by try_acquire().
  std::optional<Turn> try_yield(Time used) {
    return take(llmos_lane_yield, {.flags = LLMOS_LANE_NONBLOCK, .used_ns = nanoseconds(used)}, EAGAIN);
  }
  // Ends the turn. At least the time that it was held is charged.
  void release(Time used = {}) { detail::check(llmos_lane_release(fd_, nanoseconds(used))); }
  // Leaves the queue, from any thread.
  void cancel() { detail::check(llmos_lane_cancel(fd_)); }

  LaneInfo info() const {
    struct llmos_lane_stat c {};
    c.size = sizeof(c);
    detail::check(llmos_lane_stat(fd_, &c));
    return LaneInfo(c);
  }
  int fd() const noexcept { return fd_; }

  // Those open in processes that this one may look into: its own; all, for root.
  static std::vector<LaneInfo> list() {
    std::vector<LaneInfo> lanes;
    detail::Callback callback([&](const struct llmos_lane_stat* stat, pid_t pid) {
      lanes.push_back(LaneInfo(*stat, pid));
      return true;
    });
    callback.finish(llmos_lanes(callback.invoke<const struct llmos_lane_stat*, pid_t>, &callback));
    return lanes;
  }

 private:
  struct Asked {
    uint32_t flags = 0;
    uint64_t used_ns = 0, timeout_ns = 0;
  };

  std::optional<Turn> take(int (*command)(int, struct llmos_lane_turn*), const Asked& asked, int expected) {
    struct llmos_lane_turn c {};
    c.size = sizeof(c);
    c.flags = asked.flags;
    c.used_ns = asked.used_ns;
    c.timeout_ns = asked.timeout_ns;
    const int result = command(fd_, &c);
    if (result < 0 && -result == expected) return std::nullopt;
    detail::check(result);
    return Turn{Time(c.slice_ns), Time(c.waited_ns)};
  }

  static uint64_t nanoseconds(Time time) { return time.count() > 0 ? static_cast<uint64_t>(time.count()) : 0; }
  template <size_t kSize>
  static void put(char (&field)[kSize], const std::string& text, const char* what) {
    if (text.size() >= kSize) throw Error(EINVAL, std::string("the ") + what + "'s name \"" + text + "\" is too long");
    std::memcpy(field, text.c_str(), text.size() + 1);
  }

  int fd_ = -1;
};

}  // namespace llmos

#endif  // LLMOS_LANE_HPP
