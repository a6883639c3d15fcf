// SPDX-License-Identifier: MIT
// The little of io_uring that tests need, without a library: submit some entries, wait, look at what came of them.
#pragma once

#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "guest.hpp"

namespace llmos::guest {

class Ring {
 public:
  // Check usable(): any of it may fail.
  explicit Ring(unsigned entries, unsigned flags = 0) {
    params_.flags = flags;
    fd_ = Fd(static_cast<int>(syscall(SYS_io_uring_setup, entries, &params_)));
    if (fd_ < 0) return;
    rings_ = static_cast<std::byte*>(map(rings_size(), IORING_OFF_SQ_RING));
    submissions_ = static_cast<io_uring_sqe*>(map(submissions_size(), IORING_OFF_SQES));
  }
  ~Ring() {
    if (rings_ && rings_ != MAP_FAILED) munmap(rings_, rings_size());
    if (submissions_ && submissions_ != MAP_FAILED) munmap(submissions_, submissions_size());
  }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  bool usable() const { return fd_ >= 0 && rings_ != MAP_FAILED && submissions_ != MAP_FAILED; }
  int fd() const { return fd_; }
  int register_buffer(const iovec& buffer) const {
    return static_cast<int>(syscall(SYS_io_uring_register, fd(), IORING_REGISTER_BUFFERS, &buffer, 1));
  }

  void unregister_buffer() const { syscall(SYS_io_uring_register, fd(), IORING_UNREGISTER_BUFFERS, nullptr, 0); }

  // No more than `entries` between two enter().
  void add(const io_uring_sqe& submission) {
    auto& tail = at<std::atomic<uint32_t>>(params_.sq_off.tail);
    const uint32_t index = tail & (params_.sq_entries - 1);
    submissions_[index] = submission;
    (&at<uint32_t>(params_.sq_off.array))[index] = index;
    tail.store(tail + 1, std::memory_order_release);
    added_++;
  }

  // Submits what was added, and waits for that many completions; how many entries were submitted, or -1 and errno.
  long enter(unsigned wait, int64_t nanoseconds = INT64_MAX) {
    __kernel_timespec time = {nanoseconds / 1'000'000'000, nanoseconds % 1'000'000'000};
    io_uring_getevents_arg extended = {};
    extended.ts = reinterpret_cast<uint64_t>(&time);
    const long submitted = syscall(SYS_io_uring_enter, fd(), added_, wait, IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
                                   &extended, sizeof(extended));
    if (submitted > 0) added_ -= static_cast<unsigned>(submitted);
    return submitted;
  }

  template <typename Each>
  void completions(Each each) {
    auto& head = at<std::atomic<uint32_t>>(params_.cq_off.head);
    const auto& tail = at<std::atomic<uint32_t>>(params_.cq_off.tail);
    for (; head != tail.load(std::memory_order_acquire); head++)
      each((&at<io_uring_cqe>(params_.cq_off.cqes))[head & (params_.cq_entries - 1)]);
  }

 private:
  template <typename T>
  T& at(uint32_t offset) {
    return *reinterpret_cast<T*>(rings_ + offset);
  }
  size_t rings_size() const { return params_.cq_off.cqes + params_.cq_entries * sizeof(io_uring_cqe) + page; }
  size_t submissions_size() const { return params_.sq_entries * sizeof(io_uring_sqe); }
  void* map(size_t size, off_t offset) {
    return mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, offset);
  }

  io_uring_params params_ = {};
  Fd fd_;
  std::byte* rings_ = nullptr;
  io_uring_sqe* submissions_ = nullptr;
  unsigned added_ = 0;
};

}  // namespace llmos::guest
