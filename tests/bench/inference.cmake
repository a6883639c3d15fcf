# SPDX-License-Identifier: MIT
add_executable(bench_inference inference.cpp)
target_link_libraries(bench_inference PRIVATE llmos_objects llmos_test_support)
