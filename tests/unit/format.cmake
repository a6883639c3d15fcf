# SPDX-License-Identifier: MIT
llmos_test(NAME gguf LABEL unit SOURCES gguf_read.cpp gguf_malformed.cpp gguf_files.cpp gguf_header.cpp)
