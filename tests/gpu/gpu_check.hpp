// SPDX-License-Identifier: MIT
// What only a GPU can tell, in parts: each looks at one thing, says what it found, and fails by throwing.
#pragma once

#include <fmt/format.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cuda/device.hpp"
#include "cuda/matrices.hpp"
#include "engine/engine.hpp"
#include "system/error.hpp"

namespace llmos::test::gpu {

struct Setting {
  std::string device = "cuda:0";
  bool simulated = false;  // on the tests' fake driver: small, and nothing is timed
  bool json = false;
  std::string model;  // a GGUF file to run; empty: none
  std::string only;   // the part to run; empty: all

  // The fake driver has the kernels itself, also where this build has no image.
  core::BackendOptions backend(bool cublas) const;
  size_t number() const { return std::stoul(device.substr(device.find(':') + 1)); }
};

// What a part found: a sentence, and its numbers for programs.
struct Found {
  std::string text;
  std::vector<std::pair<std::string, double>> figures = {};
};

// What the parts work with.
struct Bench {
  explicit Bench(const Setting& given);

  const Setting& setting;
  std::unique_ptr<core::Backend> device, library, cpu;  // our own kernels; with cuBLASLt; what they are compared with
  std::shared_ptr<cuda::Device> raw;
  std::mt19937_64 random{1};
  double bandwidth = 0;  // bytes a second that were read, once it is measured
};

struct Part {
  const char* name;
  Found (*run)(Bench& bench);
  bool timed = false;  // what it says is about time, which a simulation does not tell
};

std::span<const Part> parts_of_numbers();  // numbers.cpp
std::span<const Part> parts_of_engines();  // engines.cpp
std::span<const Part> parts_of_memory();   // memory.cpp

// 0: all is well, 1: something is not, 77: there is no device, or none that this build has kernels for. Prints.
int check_device(const Setting& setting);

template <typename... Arguments>
void require(bool holds, fmt::format_string<Arguments...> text, Arguments&&... arguments) {
  if (!holds) core::fail(EIO, text, std::forward<Arguments>(arguments)...);
}

double seconds(const std::function<void()>& work);

}  // namespace llmos::test::gpu
