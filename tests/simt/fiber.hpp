// SPDX-License-Identifier: MIT
// Stacks to switch between within one OS thread. A fiber never moves to another OS thread.
#pragma once

#include <cstddef>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace simt {

class Fiber {
 public:
  static constexpr size_t stack_bytes = 128 << 10;

  Fiber() = default;  // the OS thread's own stack, once it switches away
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Will run `entry` on the stack that ends at `stack + stack_bytes`; entry must never return.
  void prepare(char* stack, void (*entry)());

  // Runs `to`; returns when somebody switches back. `last` says that this fiber will never run again.
  void switch_to(Fiber& to, bool last = false);

  // To be called first thing by an entry function.
  static void started();

 private:
#if defined(__x86_64__)
  void* stack_pointer_ = nullptr;
#else
  ucontext_t context_;
#endif
  const void* stack_ = nullptr;  // for the address sanitizer
  size_t size_ = 0;
};

// Stacks for `count` fibers with an inaccessible page below each.
class Stacks {
 public:
  explicit Stacks(size_t count);
  ~Stacks();
  Stacks(const Stacks&) = delete;
  Stacks& operator=(const Stacks&) = delete;

  size_t count() const { return count_; }
  char* operator[](size_t index) const { return memory_ + index * step + guard; }

 private:
  static constexpr size_t guard = 4096, step = guard + Fiber::stack_bytes;
  size_t count_;
  char* memory_;
};

}  // namespace simt
