// SPDX-License-Identifier: MIT
// UTF-8 and the classes of code points.
#include <gtest/gtest.h>

#include "support/utf8.hpp"
#include "text/unicode.hpp"

namespace llmos {
namespace {

using core::character_class;
using core::CharacterClass;
using core::decode_code_point;
using core::not_utf8;
using core::unfinished_utf8;

TEST(TokenizerUnicode, EveryCodePointDecodes) {
  for (uint32_t value = 0; value < 0x110000; ++value) {
    const std::string text = test::utf8(value);
    const core::CodePoint decoded = decode_code_point(text);
    if (value >= 0xd800 && value < 0xe000) {
      ASSERT_EQ(decoded.value, not_utf8) << value;
      ASSERT_EQ(decoded.bytes, 1u);
      continue;
    }
    ASSERT_EQ(decoded.value, value);
    ASSERT_EQ(decoded.bytes, text.size());
    ASSERT_EQ(unfinished_utf8("x" + text), 0u);
    for (size_t cut = 1; cut < text.size(); ++cut) {
      ASSERT_EQ(decode_code_point(text.substr(0, cut)).value, not_utf8);
      ASSERT_EQ(unfinished_utf8("x" + text.substr(0, cut)), cut);
    }
  }
}

TEST(TokenizerUnicode, WhatIsNoUtf8IsOneByte) {
  for (const std::string_view text :
       {"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xff", "\xc3(", "\xe2\x82(", "\xf0\x9f\x98("}) {
    EXPECT_EQ(decode_code_point(text).value, not_utf8);
    EXPECT_EQ(decode_code_point(text).bytes, 1u);
  }
}

TEST(TokenizerUnicode, NothingIsHeldBackForBytesThatCannotBecomeACharacter) {
  for (const std::string_view text :
       {"", "a", "\x80", "\xff", "\xc0", "\xf5", "\xe0\x80", "\xed\xa0", "\xf4\x90", "\xc3\xa9", "\x80\x80\x80\x80"})
    EXPECT_EQ(unfinished_utf8(text), 0u) << testing::PrintToString(text);
  EXPECT_EQ(unfinished_utf8("\xf0"), 1u);
  EXPECT_EQ(unfinished_utf8("\xf0\x9f"), 2u);
  EXPECT_EQ(unfinished_utf8("\xf0\x9f\x98"), 3u);
}

TEST(TokenizerUnicode, Classes) {
  using enum CharacterClass;
  EXPECT_EQ(character_class('A'), upper);
  EXPECT_EQ(character_class('z'), lower);
  EXPECT_EQ(character_class('5'), number);
  EXPECT_EQ(character_class('_'), punctuation);
  EXPECT_EQ(character_class('$'), symbol);
  EXPECT_EQ(character_class('\0'), other);
  for (const uint32_t value : {0x09, 0x0a, 0x0d, 0x20, 0x85, 0xa0, 0x1680, 0x2003, 0x2028, 0x202f, 0x205f, 0x3000})
    EXPECT_EQ(character_class(value), space) << value;
  EXPECT_EQ(character_class(0x1c), other);    // Python calls it a space, Unicode does not
  EXPECT_EQ(character_class(0x200b), other);  // nor is the zero-width space
  EXPECT_EQ(character_class(0x1c5), upper);   // title case
  EXPECT_EQ(character_class(0xaa), letter);
  EXPECT_EQ(character_class(0x4e00), letter);
  EXPECT_EQ(character_class(0x301), mark);
  EXPECT_EQ(character_class(0x2167), number);
  EXPECT_EQ(character_class(0xbd), number);
  EXPECT_EQ(character_class(0x1f600), symbol);
  EXPECT_EQ(character_class(0x2ebf0), letter);  // new in Unicode 15.1
  EXPECT_EQ(character_class(0x10ffff), other);
  EXPECT_EQ(character_class(not_utf8), other);
}

}  // namespace
}  // namespace llmos
