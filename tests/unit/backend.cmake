# SPDX-License-Identifier: MIT
llmos_test(NAME backend_matrix LABEL unit SOURCES backend_matrix.cpp)
llmos_test(NAME backend_attention LABEL unit SOURCES backend_attention.cpp)
llmos_test(NAME thread_pool LABEL unit SOURCES system_thread_pool.cpp)
