// SPDX-License-Identifier: MIT
// Engines and backends on the fake driver.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cuda/device.hpp"
#include "fake_cuda/fake_cuda.hpp"
#include "support/stories.hpp"

namespace llmos::test {

// The kernels of this build, or, built without nvcc, what the fake driver takes for some.
inline std::span<const std::byte> image() {
  if (!cuda::built_in_image().empty()) return {};  // the backend's own choice
  static constexpr char text[] = ".version 8.0\n.target sm_75\n";
  return std::as_bytes(std::span(text));
}

inline core::EngineOptions on_cuda(size_t context = 256) {
  core::EngineOptions options;
  options.backend.device = "cuda:0";
  options.backend.cuda_image = image();
  options.backend.cublas = false;  // where it is wanted, cublas.cpp says so
  options.context = context;
  options.cache_bytes = 0;
  return options;
}

// A model file as stores map them: on pages of its own that can only be read.
class MappedFile {
 public:
  explicit MappedFile(std::span<const std::byte> bytes) {
    const size_t room = (bytes.size() + 4095) / 4096 * 4096;
    void* const pages = mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) throw std::bad_alloc();
    std::memcpy(pages, bytes.data(), bytes.size());
    mprotect(pages, room, PROT_READ);
    bytes_ = {static_cast<std::byte*>(pages), bytes.size()};
    owner_ = {pages, [room](void* mapped) { munmap(mapped, room); }};
  }
  std::shared_ptr<core::Engine> open(const core::EngineOptions& options) const {
    return std::make_shared<core::Engine>(bytes_, owner_, options);
  }

 private:
  std::span<const std::byte> bytes_;
  std::shared_ptr<const void> owner_;
};

// Begins with a fresh driver; at the end nothing may be left on the device, and nothing have gone wrong unnoticed.
class Simulated : public testing::Test {
 protected:
  void SetUp() override { fake_cuda::reset(); }
  void TearDown() override {
    EXPECT_EQ(fake_cuda::ledger(), fake_cuda::Ledger{});
    EXPECT_EQ(fake_cuda::violations(), std::vector<std::string>{});
    if (!fake_cuda::fault_happened()) {
      EXPECT_EQ(fake_cuda::left_behind(), 0u);
    }
  }
};

}  // namespace llmos::test
