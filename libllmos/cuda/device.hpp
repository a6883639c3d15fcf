// SPDX-License-Identifier: MIT
// A CUDA device as one engine uses it: its context, a stream, the kernels, and memory that is charged to the group.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "cuda/driver.hpp"
#include "cuda/kernels/arguments.hpp"
#include "cuda/kernels/list.hpp"
#include "system/fd.hpp"

namespace llmos::cuda {

enum class Kernel : unsigned {
#define LLMOS_NAME_KERNEL(name, threads, Arguments) name,
  LLMOS_CUDA_KERNELS(LLMOS_NAME_KERNEL)
#undef LLMOS_NAME_KERNEL
      count
};

// The image that this build has: empty where it was built without nvcc.
std::span<const std::byte> built_in_image();

// Bytes of device memory charged to this process's group, where the kernel module knows the device; elsewhere nothing.
class Charge {
 public:
  explicit Charge(std::string device) : device_(std::move(device)) {}
  void add(size_t bytes);  // EDQUOT, ENOSPC: refused, and nothing changed
  void take_off(size_t bytes) noexcept;

 private:
  enum class State { unknown, none, open };
  const std::string device_;
  State state_ = State::unknown;
  core::Fd fd_;
  uint64_t bytes_ = 0;
};

// Not thread-safe. Everything fails as check() does.
class Device {
 public:
  // `number` counts from 0. Fails with ENODEV when there are not so many, with ENOTSUP when the image has no kernels
  // for the device.
  Device(int number, std::span<const std::byte> image);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  const std::string& name() const { return name_; }
  const std::string& bus_id() const { return bus_id_; }  // "0000:01:00.0", as the kernel writes it
  const Driver& driver() const { return driver_; }
  StreamHandle stream() const { return stream_; }
  int attribute(int which) const;  // a CUdevice_attribute

  struct Free {
    size_t free, total;
  };
  Free memory() const;

  Address allocate(size_t bytes);  // charged first
  void release(Address address, size_t bytes) noexcept;

  void launch(Kernel kernel, unsigned grid_x, unsigned grid_y, unsigned threads, const void* arguments);
  void synchronize();

  // Makes the context current on this thread while it lives.
  class Current {
   public:
    explicit Current(const Device& device);
    ~Current();
    Current(const Current&) = delete;
    Current& operator=(const Current&) = delete;

   private:
    const Driver& driver_;
  };

 private:
  void load(std::span<const std::byte> image);
  void close() noexcept;

  const Driver& driver_;
  DeviceNumber device_ = 0;
  std::string name_, bus_id_;
  ContextHandle context_ = nullptr;
  StreamHandle stream_ = nullptr;
  ModuleHandle module_ = nullptr;
  FunctionHandle functions_[static_cast<unsigned>(Kernel::count)] = {};
  std::unique_ptr<Charge> charge_;
  friend class Current;
};

}  // namespace llmos::cuda
