// SPDX-License-Identifier: MIT
// The randomness of one call. Every call has its own, made from its place (seed, process, thread, number), so a thread
// draws the same things in every run with one seed, whatever its calls returned.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>

namespace llmos::fuzz {

class Random {
 public:
  explicit Random(std::initializer_list<uint64_t> place) {
    for (uint64_t part : place) state_ = mix(state_ ^ part);
  }

  uint64_t next() { return mix(state_ += 0x9E3779B97F4A7C15); }
  uint64_t below(uint64_t limit) { return limit ? next() % limit : 0; }
  uint64_t between(uint64_t low, uint64_t high) { return low + below(high - low + 1); }
  bool chance(unsigned percent) { return below(100) < percent; }

  template <typename T>
  T pick(std::initializer_list<T> choices) {
    return choices.begin()[below(choices.size())];
  }
  template <typename Range>
  const auto& one_of(const Range& range) {
    return std::begin(range)[below(std::size(range))];
  }

  // Any 64 bits, favouring those at which code goes wrong.
  uint64_t garbage() {
    const uint64_t edge = 1ULL << below(64);
    switch (below(6)) {
      case 0: return edge - 1;
      case 1: return edge;
      case 2: return edge + 1;
      case 3: return -below(4097);
      case 4: return below(4097);
      default: return next();
    }
  }
  // `value`, but for a few percent.
  uint64_t mostly(uint64_t value, unsigned percent = 95) { return chance(percent) ? value : garbage(); }
  // The union of some of the flags.
  uint64_t flags(std::initializer_list<uint64_t> all) {
    uint64_t some = 0;
    for (uint64_t flag : all) some |= chance(30) ? flag : 0;
    return some;
  }

 private:
  static uint64_t mix(uint64_t x) {  // splitmix64's
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    return x ^ (x >> 31);
  }
  uint64_t state_ = 0x6c6c6d6f73;
};

}  // namespace llmos::fuzz
