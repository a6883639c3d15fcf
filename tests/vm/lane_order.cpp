// SPDX-License-Identifier: MIT
// Who is next: device time by weight, among groups and among the lanes of each, and within time.max.
#include <chrono>
#include <cmath>
#include <memory>

#include "lane.hpp"

namespace llmos::guest {
namespace {

using LaneFair = LaneTest;

struct Ratio {
  uint32_t first, second;
  size_t lanes;
};

// Two groups with those weights and half of the lanes each: the first one's share of 30 s, in percent.
double share_of_first(const Ratio& ratio) {
  const TestDevice test;
  const Cgroup one("lanes-one"), two("lanes-two");
  GroupFiles(one).set("time.weight", "test " + std::to_string(ratio.first));
  GroupFiles(two).set("time.weight", "test " + std::to_string(ratio.second));
  const Lane starter(test);  // has the device until all are there: a turn of theirs would be charged for that time
  Crowd crowd;
  for (size_t i = 0; i < ratio.lanes; i++)
    crowd.add(in_cgroup(i < ratio.lanes / 2 ? one : two, [&] { return Lane(test); }));
  EXPECT_OK(starter.acquire());
  crowd.enter_all();
  EXPECT_OK(starter.release());
  crowd.run(30 * second, 5 * ms);
  const double first = static_cast<double>(crowd.used(0, ratio.lanes / 2));
  return 100 * first / (first + static_cast<double>(crowd.used(ratio.lanes / 2, ratio.lanes)));
}

TEST_F(LaneFair, GroupsShareByWeight) {
  const Setting slice(lanes_dir + "slice_us", "5000");
  for (const Ratio ratio : {Ratio{100, 100, 2},
                            {300, 700, 2},
                            {100, 10000, 2},
                            {300, 700, 20},
                            {100, 10000, 200},
                            {100, 100, 2000},
                            {300, 700, 2000},
                            {100, 10000, 2000}}) {
    const double wanted = 100.0 * ratio.first / (ratio.first + ratio.second);
    EXPECT_NEAR(share_of_first(ratio), wanted, 1.0)
        << ratio.first << ":" << ratio.second << ", " << ratio.lanes << " lanes";
  }
}

TEST_F(LaneFair, LanesOfAGroupShareByWeight) {
  const Setting slice(lanes_dir + "slice_us", "5000");
  const TestDevice test;
  Crowd crowd;
  for (const uint32_t weight : {100, 200, 700}) crowd.add(Lane(test, {.weight = weight}));
  crowd.enter_all();
  crowd.run(30 * second, 5 * ms);
  const auto all = static_cast<double>(crowd.used(0, 3));
  EXPECT_NEAR(100 * static_cast<double>(crowd.used(0, 1)) / all, 10, 1);
  EXPECT_NEAR(100 * static_cast<double>(crowd.used(1, 2)) / all, 20, 1);
}

// A: 3 of 4, split evenly between its children; B: 1 of 4, however many lanes it has.
TEST_F(LaneFair, NestedGroupsShareWhatTheirParentGets) {
  const Setting slice(lanes_dir + "slice_us", "5000");
  const TestDevice test;
  const Cgroup a("lanes-a"), b("lanes-b"), left("left", a.path()), right("right", a.path());
  GroupFiles(a).set("time.weight", "300");
  Crowd crowd;
  crowd.add(in_cgroup(left, [&] { return Lane(test); }));
  for (int i = 0; i < 9; i++) crowd.add(in_cgroup(right, [&] { return Lane(test); }));
  for (int i = 0; i < 30; i++) crowd.add(in_cgroup(b, [&] { return Lane(test); }));
  crowd.enter_all();
  crowd.run(30 * second, 5 * ms);
  const auto all = static_cast<double>(crowd.used(0, 40));
  EXPECT_NEAR(100 * static_cast<double>(crowd.used(0, 1)) / all, 37.5, 1);
  EXPECT_NEAR(100 * static_cast<double>(crowd.used(1, 10)) / all, 37.5, 1);
  EXPECT_NEAR(100 * static_cast<double>(crowd.used(10, 40)) / all, 25, 1);
}

TEST_F(LaneFair, AGroupThatSleptGetsNoCreditBeyondASlice) {
  const Setting slice(lanes_dir + "slice_us", "5000");
  const TestDevice test;
  const Cgroup awake("lanes-awake"), sleepy("lanes-sleepy");
  Crowd crowd;
  const size_t one = crowd.add(in_cgroup(awake, [&] { return Lane(test); }));
  const size_t two = crowd.add(in_cgroup(sleepy, [&] { return Lane(test); }));
  crowd.enter_all();
  crowd.run(1 * second, 5 * ms);
  crowd.leave(two);
  crowd.run(20 * second, 5 * ms);
  const uint64_t one_before = crowd[one].stat().used_ns, two_before = crowd[two].stat().used_ns;
  crowd.enter(two);
  crowd.run(1 * second, 5 * ms);
  const auto more = static_cast<int64_t>(crowd[two].stat().used_ns - two_before) -
                    static_cast<int64_t>(crowd[one].stat().used_ns - one_before);
  EXPECT_LE(std::abs(more), static_cast<int64_t>(100 * ms));  // a slice, and the machine's own pauses
}

TEST_F(LaneFair, TimeMaxIsAQuotaOfEachPeriod) {
  const TestDevice test;
  const Cgroup cgroup("lanes-limited");
  const GroupFiles files(cgroup);
  files.set("time.max", "test 10000 200000");
  const Lane limited = in_cgroup(cgroup, [&] { return Lane(test); });
  const Lane other(test);
  ASSERT_OK(limited.acquire());
  ASSERT_OK(limited.release(25 * ms));  // this period's, the next one's, and half of the third's
  const auto start = std::chrono::steady_clock::now();
  EXPECT_ERRNO(EAGAIN, limited.try_acquire());
  EXPECT_OK(other.acquire());  // the device is free
  EXPECT_OK(other.release());
  EXPECT_EQ(limited.polled(10000), POLLIN);
  const auto waited = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_GT(waited, 0.2);
  EXPECT_LT(waited, 2.0);
  EXPECT_NE(files.get("time.stat").find("test "), std::string::npos);
  EXPECT_OK(limited.try_acquire());
  EXPECT_OK(limited.release());
  files.set("time.max", "test max");
  EXPECT_OK(limited.acquire(5 * second));
}

// What is left of a removed cgroup is ruled by its ancestors alone.
TEST_F(LaneFair, TimeMaxGoesWithItsCgroup) {
  const TestDevice test;
  auto cgroup = std::make_unique<Cgroup>("lanes-removed");
  GroupFiles(*cgroup).set("time.max", "test 1000 1000000");
  const Lane limited = in_cgroup(*cgroup, [&] { return Lane(test); });
  ASSERT_OK(limited.acquire());
  ASSERT_OK(limited.release(1000 * second));  // owes a million periods
  EXPECT_ERRNO(ETIMEDOUT, limited.acquire(1500 * ms));
  EXPECT_ERRNO(EAGAIN, limited.try_acquire());
  cgroup.reset();
  EXPECT_OK(Lane(test).acquire());  // whatever happens next on the device
  EXPECT_EQ(limited.polled(10000), POLLIN);
  EXPECT_OK(limited.try_acquire());
  EXPECT_OK(limited.release());
}

TEST_F(LaneFair, OverrunsAreRecordedAndThenCostDouble) {
  const Setting slice(lanes_dir + "slice_us", "50000");
  const TestDevice test;
  Crowd crowd;
  const size_t good = crowd.add(Lane(test)), bad = crowd.add(Lane(test));
  crowd.enter_all();
  for (uint64_t done = 0; done < 200 * second;) {
    int64_t budget = 1;
    if (crowd[bad].state() == LLMOS_LANE_HOLDING) {
      crowd[bad].try_acquire();
      crowd[bad].try_yield(500 * ms);
      done += 500 * ms;
    } else {
      crowd.turn(50 * ms, budget);
      done += 50 * ms;
    }
  }
  EXPECT_LE(crowd[good].stat().overruns, 2u);  // where the machine paused
  EXPECT_GT(crowd[bad].stat().overruns, 10u);
  const double share = static_cast<double>(crowd[bad].stat().used_ns) /
                       static_cast<double>(crowd[good].stat().used_ns + crowd[bad].stat().used_ns);
  EXPECT_NEAR(share, 1 / (1 + 1.9), 0.02);  // each 500 ms are charged as 950
}

}  // namespace
}  // namespace llmos::guest
