# SPDX-License-Identifier: MIT
# As bench_model_memory, in a machine.
add_executable(bench_scheduling scheduling.cpp program.cpp series.cpp)
target_link_libraries(bench_scheduling PRIVATE vm_guest)
target_link_options(bench_scheduling PRIVATE -static-libstdc++ -static-libgcc)
set_target_properties(bench_scheduling PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/guest-tests/bench)
