// SPDX-License-Identifier: MIT
// Requests of a trace as lanes: each arrives at its time, asks for turns until its work is done, and goes. Work is
// sleep, in real time, so waits and deadlines are what the module sees.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

#include "../vm/lane.hpp"
#include "../vm/policy.hpp"
#include "lanes.hpp"

namespace llmos::bench {

using guest::Lane, guest::TestDevice;
using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

namespace {

constexpr double kStep = 0.02;  // seconds of device time between two reports; a slice

struct Request {
  double arrival, demand, deadline;  // seconds; the deadline from its arrival
  double wait = 0, response = 0;
};

double seconds_of_day(const std::string& time) {
  int hours = 0, minutes = 0;
  double seconds = 0;
  if (sscanf(time.c_str(), "%*s %d:%d:%lf", &hours, &minutes, &seconds) != 3)
    throw std::runtime_error("no time: " + time);
  return hours * 3600 + minutes * 60 + seconds;
}

// A prompt token costs a fiftieth of a generated one. Then time and work are scaled to what was asked for.
std::vector<Request> read_trace(const Replay& replay) {
  std::ifstream file(replay.trace);
  if (!file) throw std::runtime_error("cannot read " + replay.trace);
  std::vector<Request> requests;
  std::string line, time, prompt, generated;
  std::getline(file, line);
  while (requests.size() < replay.requests && std::getline(file, line)) {
    std::istringstream fields(line);
    std::getline(fields, time, ',');
    std::getline(fields, prompt, ',');
    std::getline(fields, generated, ',');
    requests.push_back({seconds_of_day(time), std::stod(prompt) / 50 + std::stod(generated), 0});
  }
  double work = 0;
  for (const Request& request : requests) work += request.demand;
  const double first = requests.front().arrival, span = requests.back().arrival - first;
  for (Request& request : requests) {
    request.arrival = (request.arrival - first) / span * replay.seconds / replay.load;
    request.demand *= replay.seconds / work;
    request.deadline = 0.1 + 5 * request.demand;
  }
  return requests;
}

void sleep_until(Clock::time_point when) { std::this_thread::sleep_until(when); }

// Asks for a turn, or goes on: with what is left to do as its cost.
void turn(const Lane& lane, unsigned long number, double deadline, double left, double used,
          Clock::time_point arrived) {
  auto args = guest::sized<llmos_lane_turn>();
  const double until = deadline - Seconds(Clock::now() - arrived).count();
  args.cost_ns = static_cast<uint64_t>(left * 1e9);
  args.deadline_ns = static_cast<uint64_t>(std::max(until, 1e-6) * 1e9);
  args.used_ns = static_cast<uint64_t>(used * 1e9);
  if (guest::command(lane.fd(), number, args)) guest::throw_errno("a turn");
}

void serve(const TestDevice& device, Request& request, Clock::time_point start, double deadline) {
  const auto arrived = start + std::chrono::duration_cast<Clock::duration>(Seconds(request.arrival));
  sleep_until(arrived);
  const Lane lane(device);
  turn(lane, LLMOS_LANE_ACQUIRE, deadline, request.demand, 0, arrived);
  request.wait = Seconds(Clock::now() - arrived).count();
  for (double left = request.demand; left > 0;) {
    const double now = std::min(left, kStep);
    std::this_thread::sleep_for(Seconds(now));
    left -= now;
    if (left > 0) turn(lane, LLMOS_LANE_YIELD, deadline, left, now, arrived);
  }
  lane.release();
  request.response = Seconds(Clock::now() - arrived).count();
}

nlohmann::ordered_json outcome(const std::vector<Request>& requests) {
  double wait = 0, response = 0, slowdown = 0, late = 0;
  std::vector<double> responses;
  for (const Request& request : requests) {
    wait += request.wait, response += request.response, slowdown += request.response / request.demand;
    late += request.response > request.deadline;
    responses.push_back(request.response);
  }
  const auto count = static_cast<double>(requests.size());
  std::ranges::sort(responses);
  return {{"mean_wait_s", wait / count},
          {"mean_response_s", response / count},
          {"p95_response_s", responses[static_cast<size_t>(0.95 * (count - 1))]},
          {"mean_slowdown", slowdown / count},
          {"late_percent", 100 * late / count}};
}

// `deadline`: one for all, in place of their own.
nlohmann::ordered_json run(std::vector<Request> requests, double deadline = 0) {
  const TestDevice device("bench");
  std::vector<std::thread> threads;
  const auto start = Clock::now() + std::chrono::milliseconds(200);
  for (Request& request : requests)
    threads.emplace_back([&] { serve(device, request, start, deadline ? deadline : request.deadline); });
  for (std::thread& thread : threads) thread.join();
  return outcome(requests);
}

}  // namespace

nlohmann::ordered_json replay_trace(const Replay& replay) {
  const guest::Setting slice(guest::lanes_dir + "slice_us", "20000");
  const std::vector<Request> requests = read_trace(replay);
  nlohmann::ordered_json json;
  json["fair"] = run(requests);  // the module's default
  if (!guest::have_policies()) return json;
  {
    const guest::Policy policy("shortest");
    policy.set("knobs", guest::bytes_of(0) + guest::bytes_of(0));  // no ageing
    policy.open_gate();
    json["shortest"] = run(requests);
  }
  const guest::Policy policy("deadline");
  policy.open_gate();
  json["deadline"] = run(requests);
  json["fifo"] = run(requests, 3600);  // of equal deadlines, who came first has the earliest
  return json;
}

}  // namespace llmos::bench
