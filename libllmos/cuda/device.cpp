// SPDX-License-Identifier: MIT
#include "cuda/device.hpp"

#include <cctype>
#include <cerrno>
#include <utility>

#include "device/device.hpp"
#include "system/error.hpp"

namespace llmos::cuda {

using core::fail;
using core::Failure;

void Charge::add(size_t bytes) {
  if (state_ == State::none) return;
  if (state_ == State::open) {
    core::charge_set(fd_.get(), bytes_ + bytes, nullptr);
    bytes_ += bytes;
    return;
  }
  try {
    fd_ = core::Fd(core::charge_open(device_, bytes, nullptr));
    state_ = State::open;
    bytes_ = bytes;
  } catch (const Failure& failure) {
    if (failure.code() == EDQUOT || failure.code() == ENOSPC) throw;
    state_ = State::none;  // no module, or it does not know the device: nobody counts
  }
}

void Charge::take_off(size_t bytes) noexcept {
  if (state_ != State::open) return;
  bytes_ -= bytes;
  try {
    core::charge_set(fd_.get(), bytes_, nullptr);
  } catch (const std::exception&) {  // less is never refused; what is left goes with the descriptor
  }
}

Device::Current::Current(const Device& device) : driver_(device.driver_) {
  check(driver_.context_push(device.context_), "make the device's context current");
}

Device::Current::~Current() {
  ContextHandle context;
  driver_.context_pop(&context);
}

Device::Device(int number, std::span<const std::byte> image) : driver_(Driver::get()) {
  if (image.empty())
    fail(ENOTSUP,
         "this build of llmos has no CUDA kernels, because it was built without nvcc: build it with "
         "-DLLMOS_CUDA=ON, or use the device 'cpu'");
  int count = 0;
  check(driver_.device_count(&count), "count the CUDA devices");
  if (number >= count)
    fail(ENODEV, "there is no device 'cuda:{}': the driver shows {} (counted from 0)", number, count);
  check(driver_.device_get(&device_, number), "open the CUDA device");
  char name[256] = "", pci_id[32] = "";
  check(driver_.device_name(name, sizeof name, device_), "ask for the device's name");
  check(driver_.device_pci_id(pci_id, sizeof pci_id, device_), "ask for the device's place on the bus");
  name_ = name;
  bus_id_ = pci_id;
  for (char& c : bus_id_) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  charge_ = std::make_unique<Charge>(bus_id_);
  check(driver_.context_retain(&context_, device_), "make a context on the device");
  try {
    const Current current(*this);
    check(driver_.stream_create(&stream_, stream_non_blocking), "make a stream");
    load(image);
  } catch (...) {
    close();
    throw;
  }
}

Device::~Device() { close(); }

// The context goes when its last user in this process leaves it, and whatever is left in it with it.
void Device::close() noexcept {
  try {
    const Current current(*this);
    if (stream_) driver_.stream_synchronize(stream_);
    if (module_) driver_.module_unload(module_);
    if (stream_) driver_.stream_destroy(stream_);
  } catch (const Failure&) {
  }
  driver_.context_release(device_);
}

void Device::load(std::span<const std::byte> image) {
  const Result result = driver_.module_load(&module_, image.data());
  if (result == no_binary_for_gpu || result == unsupported_ptx_version) {
    int major = 0, minor = 0;
    driver_.device_attribute(&major, compute_capability_major, device_);
    driver_.device_attribute(&minor, compute_capability_minor, device_);
    fail(ENOTSUP,
         "this build of llmos has no kernels for the device '{}' (compute capability {}.{}): {}; it needs 7.5 or "
         "later, and for devices newer than this build a driver that is not older than it",
         name_, major, minor, name_of(result));
  }
  check(result, "load the kernels");
  static constexpr const char* names[] = {
#define LLMOS_KERNEL_SYMBOL(name, threads, Arguments) "llmos_" #name,
      LLMOS_CUDA_KERNELS(LLMOS_KERNEL_SYMBOL)
#undef LLMOS_KERNEL_SYMBOL
  };
  for (size_t i = 0; i < std::size(names); i++)
    check(driver_.module_function(&functions_[i], module_, names[i]), names[i]);
}

int Device::attribute(int which) const {
  int value = 0;
  check(driver_.device_attribute(&value, which, device_), "ask what the device can do");
  return value;
}

Device::Free Device::memory() const {
  const Current current(*this);
  Free memory{};
  check(driver_.memory_info(&memory.free, &memory.total), "ask how much memory the device has");
  return memory;
}

Address Device::allocate(size_t bytes) {
  charge_->add(bytes);
  Address address = 0;
  try {
    const Current current(*this);
    const Result result = driver_.allocate(&address, bytes);
    if (result != success) fail_call(result, fmt::format("allocate {} bytes on '{}'", bytes, name_));
  } catch (...) {
    charge_->take_off(bytes);
    throw;
  }
  return address;
}

void Device::release(Address address, size_t bytes) noexcept {
  try {
    const Current current(*this);
    driver_.free(address);
  } catch (const Failure&) {  // it goes with the context
  }
  charge_->take_off(bytes);
}

void Device::launch(Kernel kernel, unsigned grid_x, unsigned grid_y, unsigned threads, const void* arguments) {
  void* parameters[] = {const_cast<void*>(arguments)};
  check(driver_.launch_kernel(functions_[static_cast<unsigned>(kernel)], grid_x, grid_y, 1, threads, 1, 1, 0, stream_,
                              parameters, nullptr),
        "start a kernel");
}

void Device::synchronize() { check(driver_.stream_synchronize(stream_), "finish what was begun on the device"); }

}  // namespace llmos::cuda
