// SPDX-License-Identifier: MIT
// Finding the special tokens that a text holds literally.
#pragma once

#include <string_view>
#include <vector>

#include "text/vocabulary.hpp"

namespace llmos::core {

struct Fragment {
  std::string_view text;
  TokenId token;  // no_token: plain text
};

// Cuts a text at its special tokens: longer tokens are found before shorter ones, then from left to right. Without
// `parse_special` only user-defined tokens are found, as everywhere.
std::vector<Fragment> split_special(const Vocabulary& vocabulary, std::string_view text, bool parse_special);

}  // namespace llmos::core
