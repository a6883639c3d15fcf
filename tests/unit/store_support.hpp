// SPDX-License-Identifier: MIT
// What the tests of the store share: files with a known content, and the stores that are to pass.
#pragma once

#include <gtest/gtest.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <llmos/llmos.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace llmos::test {

inline constexpr uint64_t kMiB = uint64_t{1} << 20;

using Bytes = std::vector<std::byte>;

// Different in every block of 4096 bytes, so that a block in the wrong place is noticed.
inline Bytes pattern(size_t size, unsigned seed = 0) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 4096 + seed);
  return bytes;
}

class TempDir {
 public:
  TempDir() {
    std::string path = (std::filesystem::temp_directory_path() / "llmos-test-XXXXXX").string();
    if (!::mkdtemp(path.data())) throw std::runtime_error("mkdtemp failed");
    path_ = path;
  }
  ~TempDir() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  std::string operator/(std::string_view name) const { return (path_ / name).string(); }
  std::string path() const { return path_.string(); }

  std::string write(std::string_view name, std::span<const std::byte> bytes) const {
    const std::string path = *this / name;
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<long>(bytes.size()));
    return path;
  }

 private:
  std::filesystem::path path_;
};

inline bool equal(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

// fs-verity's digest as its documentation describes it: one thread, one level after another. Shares no code with the
// library.
inline Digest reference_digest(std::span<const std::byte> content) {
  auto sha256 = [](const void* data, size_t size) {
    Digest digest;
    SHA256(static_cast<const unsigned char*>(data), size, digest.data());
    return digest;
  };
  auto hash_level = [&](const std::vector<uint8_t>& level) {
    std::vector<uint8_t> next;
    for (size_t at = 0; at < level.size(); at += 4096) {
      std::array<uint8_t, 4096> block{};
      std::memcpy(block.data(), level.data() + at, std::min<size_t>(4096, level.size() - at));
      const Digest digest = sha256(block.data(), block.size());
      next.insert(next.end(), digest.begin(), digest.end());
    }
    return next;
  };
  std::vector<uint8_t> level(content.size());
  if (!content.empty()) std::memcpy(level.data(), content.data(), content.size());
  if (!level.empty()) do
      level = hash_level(level);
    while (level.size() > 32);

  std::array<uint8_t, 256> descriptor{};
  descriptor[0] = 1;   // version
  descriptor[1] = 1;   // SHA-256
  descriptor[2] = 12;  // blocks of 2^12 bytes
  for (size_t i = 0; i < 8; ++i) descriptor[8 + i] = static_cast<uint8_t>(uint64_t{content.size()} >> (8 * i));
  std::copy(level.begin(), level.end(), descriptor.begin() + 16);
  return sha256(descriptor.data(), descriptor.size());
}

// The code of the Error that an action throws; 0 when it throws none. `message` receives what it says.
template <typename Action>
int error_of(Action action, std::string* message = nullptr) {
  try {
    action();
    return 0;
  } catch (const Error& error) {
    if (message) *message = error.what();
    return error.code();
  }
}

// EXPECT_ERROR(EINVAL, "part of the message", expression)
#define EXPECT_ERROR(expected, part, ...)                                                                 \
  do {                                                                                                    \
    std::string said;                                                                                     \
    EXPECT_EQ(expected, ::llmos::test::error_of([&] { static_cast<void>(__VA_ARGS__); }, &said)) << said; \
    EXPECT_NE(said.find(part), std::string::npos) << "the message is: " << said;                          \
  } while (false)

// The store that the tests of this program are about: the process's own in the unit tests, the kernel's in a machine
// with the module.
#ifdef LLMOS_TEST_KERNEL
inline constexpr StoreKind kStore = StoreKind::kernel;
#else
inline constexpr StoreKind kStore = StoreKind::memory;
#endif

// A test that every store is to pass; it leaves the store as it was found.
class EveryStore : public testing::Test {
 protected:
  void SetUp() override { clean(); }
  void TearDown() override { clean(); }

  Store open() const { return Store(kStore); }

  const TempDir dir_;

 private:
  // Tests name their models "test-...".
  static void clean() {
    Store store(kStore);
    for (const ModelInfo& model : store.list())
      if (model.name.starts_with("test-")) store.remove(model.name);
  }
};

}  // namespace llmos::test
