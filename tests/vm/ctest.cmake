# SPDX-License-Identifier: MIT
# Hands the guest tests to ctest. Which scenarios there are is asked of the built programs when ctest starts.
set(here ${CMAKE_CURRENT_SOURCE_DIR})
set(campaigns ${PROJECT_BINARY_DIR}/guest-tests/campaigns)
file(STRINGS ${PROJECT_SOURCE_DIR}/tools/kernels kernels REGEX "^[^#]")
list(TRANSFORM kernels REPLACE " .*" "")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/kernels)

# What the scripts promise.
add_test(NAME scripts.complaints COMMAND ${here}/complaints.py)
add_test(NAME scripts.shellcheck WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} COMMAND bash -c
  "command -v shellcheck >/dev/null || exit 77; grep -rlE '^#!/bin/bash|^# shellcheck shell' tools tests .ci | xargs shellcheck --severity=warning")
set_tests_properties(scripts.complaints scripts.shellcheck PROPERTIES LABELS unit SKIP_RETURN_CODE 77)

if(NOT LLMOS_SANITIZE) # the machines have no sanitizer's libraries, and find more by --debug
  configure_file(scenarios.cmake.in scenarios.cmake @ONLY)
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${CMAKE_CURRENT_BINARY_DIR}/scenarios.cmake)
endif()
