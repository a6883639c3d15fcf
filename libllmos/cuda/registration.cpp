// SPDX-License-Identifier: MIT
#include "cuda/registration.hpp"

#include <unistd.h>

#include <cerrno>
#include <map>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>

#include "system/error.hpp"

namespace llmos::cuda {
namespace {

// How many use a registration. The driver takes each page once.
using Key = std::tuple<std::string, const std::byte*, size_t>;  // the device, and the pages
std::mutex mutex;
std::map<Key, size_t> users;

std::span<const std::byte> pages_of(std::span<const std::byte> bytes) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(bytes.data()) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(bytes.data() + bytes.size()) + page - 1) / page * page;
  return {reinterpret_cast<const std::byte*>(begin), end - begin};
}

Key key_of(const Device& device, std::span<const std::byte> pages) {
  return {device.bus_id(), pages.data(), pages.size()};
}

void* unconst(const std::byte* place) { return const_cast<std::byte*>(place); }

}  // namespace

void Registration::check_support(const Device& device) {
  if (device.attribute(read_only_host_register_supported)) return;
  core::fail(ENOTSUP,
             "weights were to be used in place, and the device '{}' cannot read read-only memory of the host; leave "
             "that option away, and they are copied to the device",
             device.name());
}

Registration::Registration(std::shared_ptr<Device> device, std::span<const std::byte> bytes)
    : device_(std::move(device)), pages_(pages_of(bytes)) {
  const Device::Current current(*device_);
  const Driver& driver = device_->driver();
  const std::lock_guard lock(mutex);
  const Key key = key_of(*device_, pages_);
  size_t& count = users[key];
  try {
    if (count == 0)
      check(driver.host_register(unconst(pages_.data()), pages_.size(), register_device_map | register_read_only),
            "register the model's memory for the device");
    count++;
    Address address = 0;
    check(driver.host_device_pointer(&address, unconst(pages_.data()), 0), "find the model's memory on the device");
    base_ = reinterpret_cast<const std::byte*>(address);
  } catch (...) {
    if (count > 0 && --count == 0) driver.host_unregister(unconst(pages_.data()));
    if (count == 0) users.erase(key);
    throw;
  }
}

Registration::~Registration() {
  const std::lock_guard lock(mutex);
  const auto found = users.find(key_of(*device_, pages_));
  if (--found->second > 0) return;
  users.erase(found);
  try {
    const Device::Current current(*device_);
    device_->driver().host_unregister(unconst(pages_.data()));
  } catch (const core::Failure&) {  // it goes with the context
  }
}

}  // namespace llmos::cuda
