// SPDX-License-Identifier: MIT
// Stop strings in a stream of pieces.
#include <gtest/gtest.h>

#include <cerrno>

#include "support/failure.hpp"
#include "text/stop_strings.hpp"

namespace llmos {
namespace {

using core::StopStrings;

TEST(SamplerStop, WhatMayBecomeAStopStringIsHeldBack) {
  StopStrings stop({"END"});
  EXPECT_EQ(stop.push("text E"), "text ");
  EXPECT_EQ(stop.push("N"), "");
  EXPECT_FALSE(stop.stopped());
  EXPECT_EQ(stop.push("D and more"), "");
  EXPECT_TRUE(stop.stopped());
  EXPECT_EQ(stop.push("nothing"), "");
  EXPECT_EQ(stop.finish(), "");
}

TEST(SamplerStop, WhatTurnsOutOtherwiseIsShown) {
  StopStrings stop({"END"});
  EXPECT_EQ(stop.push("E"), "");
  EXPECT_EQ(stop.push("NE"), "EN");  // the last E may begin it again
  EXPECT_EQ(stop.push("x"), "Ex");
  EXPECT_EQ(stop.push("EN"), "");
  EXPECT_EQ(stop.finish(), "EN");
}

TEST(SamplerStop, TheEarliestOfSeveralStops) {
  StopStrings stop({"bc", "a"});
  EXPECT_EQ(stop.push("xxbca"), "xx");
  EXPECT_TRUE(stop.stopped());
  StopStrings other({"cd", "bcde"});
  EXPECT_EQ(other.push("abcde"), "a");
}

TEST(SamplerStop, WithoutStopStringsEverythingPasses) {
  StopStrings stop;
  EXPECT_EQ(stop.push("a"), "a");
  EXPECT_EQ(stop.push(""), "");
  EXPECT_FALSE(stop.stopped());
}

TEST(SamplerStop, SelfOverlappingStopStrings) {
  StopStrings stop({"aab"});
  std::string shown;
  for (const char letter : std::string("aaaab")) shown += stop.push({&letter, 1});
  EXPECT_EQ(shown, "aa");
  EXPECT_TRUE(stop.stopped());
}

TEST(SamplerStop, CutIntoPiecesAnywhereItShowsTheSame) {
  const std::string text = "one stop two stopstop##three###", shown = "one stop two ";
  for (size_t first = 0; first <= text.size(); ++first)
    for (size_t second = first; second <= text.size(); ++second) {
      StopStrings stop({"stops", "##"});
      std::string out = stop.push(text.substr(0, first));
      out += stop.push(text.substr(first, second - first));
      out += stop.push(text.substr(second));
      ASSERT_EQ(out + stop.finish(), shown) << first << " " << second;
    }
}

TEST(SamplerStop, AnEmptyStopStringIsAnError) {
  EXPECT_FAILURE(EINVAL, "an empty one would stop at once", StopStrings({"a", ""}));
}

}  // namespace
}  // namespace llmos
