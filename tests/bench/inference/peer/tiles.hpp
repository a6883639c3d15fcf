// SPDX-License-Identifier: MIT
// Included before llama.cpp's own sources where gcc is older than 13: there the intrinsics that load tiles do not say
// that they read memory, so that the compiler moves or drops the stores before them.
#pragma once

#include <immintrin.h>

#undef _tile_loadd
#define _tile_loadd(tile, base, stride)       \
  do {                                        \
    __asm__ volatile("" : : : "memory");      \
    _tile_loadd_internal(tile, base, stride); \
  } while (0)

#define _tile_loadconfig(config)                     \
  do {                                               \
    __asm__ volatile("" : : "r"(config) : "memory"); \
    (_tile_loadconfig)(config);                      \
  } while (0)
