# SPDX-License-Identifier: MIT
llmos_test(NAME llmosctl LABEL unit LIBRARIES llmosctl_parts
  SOURCES llmosctl_audit.cpp llmosctl_cli.cpp llmosctl_text.cpp llmosctl_checks.cpp llmosctl_nvml.cpp)
target_compile_definitions(test_llmosctl PRIVATE LLMOS_FAKE_NVML="${LLMOS_FAKE_NVML}")
add_dependencies(test_llmosctl fake_nvml)

foreach(script usage completion man policy run)
  add_test(NAME llmosctl.${script} COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/llmosctl_${script}.sh $<TARGET_FILE:llmosctl> ${PROJECT_SOURCE_DIR}/tools ${LLMOS_TEST_DATA})
  set_tests_properties(llmosctl.${script} PROPERTIES LABELS unit SKIP_RETURN_CODE 77)
endforeach()
