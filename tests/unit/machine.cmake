# SPDX-License-Identifier: MIT
# The store and the tool against the module: programs that tests/vm runs in its machines, with all others of this folder.
if(LLMOS_SANITIZE)  # the machines have no sanitizer's libraries
  return()
endif()
find_package(nlohmann_json REQUIRED)

function(machine_test name)
  add_executable(vm_${name} ${ARGN})
  target_link_libraries(vm_${name} PRIVATE llmos_objects GTest::gtest_main)
  target_link_options(vm_${name} PRIVATE -static-libstdc++ -static-libgcc)
  set_target_properties(vm_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/guest-tests/tests)
endfunction()

machine_test(store store_load.cpp store_model.cpp store_writer.cpp store_kernel.cpp)
target_compile_definitions(vm_store PRIVATE LLMOS_TEST_KERNEL)
machine_test(llmosctl llmosctl_machine.cpp)
target_link_libraries(vm_llmosctl PRIVATE nlohmann_json::nlohmann_json)
machine_test(sharing sharing_machine.cpp)
machine_test(prepared prepared_machine.cpp)
target_link_libraries(vm_prepared PRIVATE llmos_test_support)
target_compile_definitions(vm_prepared PRIVATE LLMOS_TEST_KERNEL)
