# SPDX-License-Identifier: MIT
# Hands the guest tests to ctest. Which scenarios there are is asked of the built programs when ctest starts.
set(here ${CMAKE_CURRENT_SOURCE_DIR})
set(campaigns ${PROJECT_BINARY_DIR}/guest-tests/campaigns)
file(STRINGS ${PROJECT_SOURCE_DIR}/tools/kernels kernels REGEX "^[^#]")
list(TRANSFORM kernels REPLACE " .*" "")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/kernels)

if(NOT LLMOS_SANITIZE) # the machines have no sanitizer's libraries, and find more by --debug
  configure_file(scenarios.cmake.in scenarios.cmake @ONLY)
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${CMAKE_CURRENT_BINARY_DIR}/scenarios.cmake)
endif()
