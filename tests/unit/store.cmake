# SPDX-License-Identifier: MIT
llmos_test(NAME store LABEL unit SOURCES
  store_c_api.cpp store_digest.cpp store_digest_cache.cpp store_load.cpp store_memory.cpp store_model.cpp
  store_topology.cpp store_writer.cpp)
target_compile_definitions(test_store PRIVATE LLMOS_TEST_VERSION="${PROJECT_VERSION}")
