// SPDX-License-Identifier: MIT
// The loop that both SPM and BPE run: of all neighbouring symbols that can be joined, join the pair of the lowest
// priority number, the leftmost of equals, until none is left. A heap finds the pair, so n symbols take O(n log n).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "text/vocabulary.hpp"

namespace llmos::core {

struct Symbol {
  uint32_t begin;  // in the text being merged
  uint32_t bytes;  // 0 once it has become part of the one before it
  uint32_t previous, next;
  TokenId token;  // no_token: a character that is no token
};

struct Merged {
  uint32_t priority;
  TokenId token;  // what the pair becomes; no_token: the pair stays two
};

class Merger {
 public:
  void clear() { symbols_.clear(); }

  void add(TokenId token, uint32_t bytes) {
    const auto index = static_cast<uint32_t>(symbols_.size());
    const uint32_t begin = symbols_.empty() ? 0 : symbols_.back().begin + symbols_.back().bytes;
    symbols_.push_back({begin, bytes, index - 1, index + 1, token});
  }

  // `find` is asked for pairs of neighbours: Merged find(const Symbol& left, const Symbol& right).
  template <typename Find>
  void run(Find find) {
    pairs_.clear();
    for (uint32_t left = 0; left + 1 < symbols_.size(); ++left) consider(left, find);
    std::ranges::make_heap(pairs_, after);
    while (!pairs_.empty()) {
      std::ranges::pop_heap(pairs_, after);
      const Pair pair = pairs_.back();
      pairs_.pop_back();
      if (!still_there(pair)) continue;
      join(pair);
      if (pair.left() != 0) reconsider(symbols_[pair.left()].previous, find);
      reconsider(pair.left(), find);
    }
  }

  // Calls use(const Symbol&) for what is left, in order.
  template <typename Use>
  void for_each(Use use) const {
    for (uint32_t index = 0; index < symbols_.size(); index = symbols_[index].next) use(symbols_[index]);
  }

 private:
  struct Pair {
    uint64_t order;  // the priority, then the left symbol
    uint32_t bytes;  // of both symbols, when the pair was found
    TokenId token;
    uint32_t left() const { return static_cast<uint32_t>(order); }
  };
  static bool after(const Pair& a, const Pair& b) { return a.order > b.order; }

  template <typename Find>
  bool consider(uint32_t left, Find& find) {
    const Symbol& a = symbols_[left];
    if (a.next >= symbols_.size()) return false;
    const Symbol& b = symbols_[a.next];
    const Merged merged = find(a, b);
    if (merged.token == no_token) return false;
    pairs_.push_back({uint64_t{merged.priority} << 32 | left, a.bytes + b.bytes, merged.token});
    return true;
  }

  template <typename Find>
  void reconsider(uint32_t left, Find& find) {
    if (consider(left, find)) std::ranges::push_heap(pairs_, after);
  }

  // Symbols only ever grow, so a pair of the same length is the same pair.
  bool still_there(const Pair& pair) const {
    const Symbol& left = symbols_[pair.left()];
    return left.bytes != 0 && left.next < symbols_.size() && left.bytes + symbols_[left.next].bytes == pair.bytes;
  }

  void join(const Pair& pair) {
    Symbol& left = symbols_[pair.left()];
    Symbol& right = symbols_[left.next];
    left.bytes += right.bytes;
    left.next = right.next;
    left.token = pair.token;
    right.bytes = 0;
    if (left.next < symbols_.size()) symbols_[left.next].previous = pair.left();
  }

  std::vector<Symbol> symbols_;
  std::vector<Pair> pairs_;  // a heap
};

}  // namespace llmos::core
