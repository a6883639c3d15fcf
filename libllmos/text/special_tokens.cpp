// SPDX-License-Identifier: MIT
#include "text/special_tokens.hpp"

#include <algorithm>
#include <cstdint>

namespace llmos::core {
namespace {

struct Match {
  size_t position;
  size_t length;
  TokenId token;
};

// Chooses among the special tokens at every position those that are found first, so that no two of them overlap.
class SpecialFinder {
 public:
  SpecialFinder(const Vocabulary& vocabulary, std::string_view text, bool parse_special)
      : vocabulary_(vocabulary), text_(text), parse_special_(parse_special) {}

  std::vector<Match> find() {
    for (size_t position = 0; position < text_.size(); ++position)
      if (vocabulary_.special_first_bytes().contains(text_[position])) consider(position, text_.size() - position);
    if (heap_.empty()) return {};
    taken_.resize(text_.size());
    std::ranges::make_heap(heap_, after);
    while (!heap_.empty()) {
      std::ranges::pop_heap(heap_, after);
      const Match match = heap_.back();
      heap_.pop_back();
      decide(match);
    }
    std::ranges::sort(chosen_, {}, &Match::position);
    return std::move(chosen_);
  }

 private:
  static bool after(const Match& a, const Match& b) {
    return a.length != b.length ? a.length < b.length : a.position > b.position;
  }

  bool consider(size_t position, size_t limit) {
    const std::string_view rest = text_.substr(position);
    const TokenId token = vocabulary_.find_special_prefix(rest, limit, parse_special_);
    if (token == no_token) return false;
    heap_.push_back({position, vocabulary_.text(token).size(), token});
    return true;
  }

  // What was chosen before is at least as long as `match`: if it overlaps, it covers one of the ends.
  void decide(const Match& match) {
    const auto begin = taken_.begin() + static_cast<ptrdiff_t>(match.position);
    const auto end = begin + static_cast<ptrdiff_t>(match.length);
    if (*begin) return;
    if (*(end - 1)) {
      const auto free = static_cast<size_t>(std::find(begin, end, true) - begin);
      if (consider(match.position, free)) std::ranges::push_heap(heap_, after);
      return;
    }
    std::fill(begin, end, true);
    chosen_.push_back(match);
  }

  const Vocabulary& vocabulary_;
  std::string_view text_;
  bool parse_special_;
  std::vector<Match> heap_;  // the longest token at each position, longest and leftmost first
  std::vector<char> taken_;  // by position: a chosen token covers it
  std::vector<Match> chosen_;
};

}  // namespace

std::vector<Fragment> split_special(const Vocabulary& vocabulary, std::string_view text, bool parse_special) {
  std::vector<Fragment> fragments;
  size_t begin = 0;
  for (const Match& match : SpecialFinder(vocabulary, text, parse_special).find()) {
    if (match.position > begin) fragments.push_back({text.substr(begin, match.position - begin), no_token});
    fragments.push_back({text.substr(match.position, match.length), match.token});
    begin = match.position + match.length;
  }
  if (begin < text.size()) fragments.push_back({text.substr(begin), no_token});
  return fragments;
}

}  // namespace llmos::core
