# SPDX-License-Identifier: MIT
llmos_test(NAME engine_stories LABEL unit SOURCES engine_stories.cpp)
llmos_test(NAME engine_prepared LABEL unit SOURCES engine_prepared.cpp)
llmos_test(NAME engine_memory LABEL unit SOURCES engine_memory.cpp)
