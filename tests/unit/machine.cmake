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
machine_test(llmosctl llmosctl_devices.cpp llmosctl_machine.cpp llmosctl_policies.cpp)
target_link_libraries(vm_llmosctl PRIVATE nlohmann_json::nlohmann_json)
add_dependencies(vm_llmosctl fake_nvml)
set(guest_lib ${CMAKE_BINARY_DIR}/guest-tests/lib)  # in the machines it is /mnt/lib
add_custom_command(TARGET vm_llmosctl POST_BUILD
  COMMAND ${CMAKE_COMMAND} -E make_directory ${guest_lib}
  COMMAND ${CMAKE_COMMAND} -E copy_if_different ${LLMOS_FAKE_NVML}/nothing/libnvidia-ml.so.1 ${guest_lib}/)
machine_test(sharing sharing_machine.cpp)
machine_test(prepared prepared_machine.cpp)
target_link_libraries(vm_prepared PRIVATE llmos_test_support)
target_compile_definitions(vm_prepared PRIVATE LLMOS_TEST_KERNEL)
