// SPDX-License-Identifier: MIT
// Test data outside of the tree (LLMOS_TEST_DATA): real models and vocabularies.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace llmos::test {

inline std::filesystem::path data_path(const std::string& name) {
  return std::filesystem::path(LLMOS_TEST_DATA) / name;
}

inline std::vector<std::byte> read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  std::vector<std::byte> bytes(static_cast<size_t>(file.tellg()));
  file.seekg(0).read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

inline std::string read_text(const std::filesystem::path& path) {
  const std::vector<std::byte> bytes = read_bytes(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace llmos::test

// Skips the test, saying why, where a file of the test data is absent.
#define LLMOS_NEED_DATA(name)                                   \
  if (!std::filesystem::exists(::llmos::test::data_path(name))) \
  GTEST_SKIP() << ::llmos::test::data_path(name) << " is absent; set LLMOS_TEST_DATA"
