// SPDX-License-Identifier: MIT
// Whether a device can run an image: nvcc's fat binaries are looked into, and the text of PTX.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "cuda/driver_api.hpp"

namespace fake_cuda {

inline llmos::cuda::Result judge_fat_binary(const unsigned char* image, unsigned capability) {
  const auto read = [](const unsigned char* from, auto value) {
    std::memcpy(&value, from, sizeof value);
    return value;
  };
  const unsigned char* entry = image + read(image + 6, uint16_t{});
  const unsigned char* const end = entry + read(image + 8, uint64_t{});
  while (entry < end) {
    const bool is_ptx = read(entry, uint16_t{}) == 1;
    const unsigned made_for = read(entry + 28, uint32_t{});
    if (is_ptx ? made_for <= capability : made_for / 10 == capability / 10 && made_for <= capability)
      return llmos::cuda::success;
    entry += read(entry + 4, uint32_t{}) + read(entry + 8, uint64_t{});
  }
  return llmos::cuda::no_binary_for_gpu;
}

inline llmos::cuda::Result judge_image(const void* image, int major, int minor) {
  const auto* bytes = static_cast<const unsigned char*>(image);
  const unsigned capability = static_cast<unsigned>(major * 10 + minor);
  uint32_t magic;
  std::memcpy(&magic, bytes, sizeof magic);
  if (magic == 0xba55ed50) return judge_fat_binary(bytes, capability);
  constexpr std::string_view ptx = ".version ", target = ".target sm_";
  if (std::strncmp(static_cast<const char*>(image), ptx.data(), ptx.size()) != 0) return llmos::cuda::invalid_image;
  const char* found = std::strstr(static_cast<const char*>(image), target.data());
  if (!found) return llmos::cuda::invalid_image;
  return std::strtoul(found + target.size(), nullptr, 10) <= capability ? llmos::cuda::success
                                                                        : llmos::cuda::no_binary_for_gpu;
}

}  // namespace fake_cuda
