# SPDX-License-Identifier: MIT
# What a program that uses the library finds after "cmake --install".
include(CMakePackageConfigHelpers)

install(TARGETS llmos EXPORT llmosTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${PROJECT_SOURCE_DIR}/include/llmos/llmos.h ${PROJECT_SOURCE_DIR}/include/llmos/llmos.hpp
              ${PROJECT_SOURCE_DIR}/include/llmos/device.h ${PROJECT_SOURCE_DIR}/include/llmos/device.hpp
              ${PROJECT_SOURCE_DIR}/include/llmos/engine.h ${PROJECT_SOURCE_DIR}/include/llmos/engine.hpp
              ${PROJECT_SOURCE_DIR}/include/llmos/lane.h ${PROJECT_SOURCE_DIR}/include/llmos/lane.hpp
              ${PROJECT_SOURCE_DIR}/include/llmos/policy.bpf.h ${PROJECT_SOURCE_DIR}/include/llmos/audit.h
              ${PROJECT_SOURCE_DIR}/include/llmos/scheduler.h
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/llmos)
# Beside ours, not in <linux/>, which belongs to the C library's package: #include <llmos/linux/llmos.h>
install(FILES ${PROJECT_SOURCE_DIR}/include/uapi/linux/llmos.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/llmos/linux)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/llmos)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/llmosConfig.cmake.in llmosConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(llmosConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(EXPORT llmosTargets NAMESPACE llmos:: DESTINATION ${package_dir})
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/llmosConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/llmosConfigVersion.cmake
  DESTINATION ${package_dir})

# Relative, so that the tree may be installed under another prefix than it was configured for.
file(RELATIVE_PATH pc_prefix /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
configure_file(${CMAKE_CURRENT_LIST_DIR}/llmos.pc.in llmos.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/llmos.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
