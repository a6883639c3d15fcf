// SPDX-License-Identifier: MIT
// An open of a model that the kernel keeps: one grant.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <mutex>

#include "store/device.hpp"
#include "store/store.hpp"
#include "system/error.hpp"
#include "system/mapping.hpp"

namespace llmos::core {

class KernelModel final : public Model {
 public:
  KernelModel(Fd fd, std::string name)
      : fd_(std::move(fd)), name_(std::move(name)), stat_(model_stat(fd_.get(), name_)) {}

  const std::string& name() const override { return name_; }
  uint64_t size() const override { return stat_.bytes; }
  int fd() const override { return fd_.get(); }
  struct llmos_model_stat stat() override {
    return model_stat(fd_.get(), name_);
  }
  int dmabuf(uint32_t flags) override { return model_dmabuf(fd_.get(), name_, flags); }

  std::span<const std::byte> bytes() override {
    std::lock_guard guard(mapping_lock_);
    if (!mapping_) mapping_ = Mapping(fd_.get(), stat_.bytes, PROT_READ);
    return mapping_.bytes();
  }

  Digest digest() override {
    Digest digest;
    std::copy(std::begin(stat_.digest), std::end(stat_.digest), digest.begin());
    return digest;
  }

  bool alive() override {
    try {
      stat();
      return true;
    } catch (const Failure& failure) {
      if (failure.code() == ESTALE) return false;
      throw;
    }
  }

 private:
  const Fd fd_;
  const std::string name_;
  const struct llmos_model_stat stat_;  // as it was at the open: length and digest do not change
  std::mutex mapping_lock_;  // not a once_flag: what throws inside call_once() ends a program linked with -static-libgcc
  Mapping mapping_;
};

}  // namespace llmos::core
