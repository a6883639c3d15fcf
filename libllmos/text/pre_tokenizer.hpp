// SPDX-License-Identifier: MIT
// Cutting a text into the words within which byte-level BPE merges. Each PreTokenizer stands for regular expressions
// over Unicode classes; here they are matchers, one function per expression, so that no regex library is needed and no
// input makes them slow: every cut takes time linear in the text.
#pragma once

#include <string_view>
#include <vector>

#include "text/vocabulary.hpp"

namespace llmos::core {

// Appends the words of `text`, in order and together exactly the text, to `words`. `text` is shorter than 4 GiB.
void split_words(PreTokenizer how, std::string_view text, std::vector<std::string_view>& words);

}  // namespace llmos::core
