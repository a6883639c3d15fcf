// SPDX-License-Identifier: MIT
// Exit status of a test program: 0 passed, 77 nothing but skipped, 1 failed.
#include <gtest/gtest.h>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (RUN_ALL_TESTS()) return 1;
  const auto& all = *testing::UnitTest::GetInstance();
  return all.test_to_run_count() && all.skipped_test_count() == all.test_to_run_count() ? 77 : 0;
}
