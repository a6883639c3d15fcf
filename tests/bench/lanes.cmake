# SPDX-License-Identifier: MIT
# As bench_model_memory, in a machine.
add_executable(bench_lanes lanes.cpp lane_costs.cpp lane_replay.cpp program.cpp series.cpp)
target_link_libraries(bench_lanes PRIVATE vm_guest)
target_link_options(bench_lanes PRIVATE -static-libstdc++ -static-libgcc)
set_target_properties(bench_lanes PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/guest-tests/bench)
