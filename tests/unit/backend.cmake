# SPDX-License-Identifier: MIT
llmos_test(NAME backend_matrix LABEL unit SOURCES backend_matrix.cpp)
