# SPDX-License-Identifier: MIT
llmos_test(NAME tokenizer LABEL unit SOURCES tokenizer_pairs.cpp)
