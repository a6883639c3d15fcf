// SPDX-License-Identifier: MIT
#include "simt/fiber.hpp"

#include <sys/mman.h>

#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// Keeps what the ABI says a call keeps, and swaps stacks.
extern "C" void simt_switch_stacks(void** from, void* to);
asm(R"(
.text
.globl simt_switch_stacks
.type simt_switch_stacks, @function
simt_switch_stacks:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
.size simt_switch_stacks, .-simt_switch_stacks
)");
#endif

namespace simt {
namespace {

#if defined(__SANITIZE_ADDRESS__)
thread_local Fiber* left = nullptr;  // the fiber that was switched away from, until its stack is known
#endif

}  // namespace

void Fiber::prepare(char* stack, void (*entry)()) {
  stack_ = stack;
  size_ = stack_bytes;
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack, stack_bytes);  // a fiber that was given up may have left its frames' marks
#endif
#if defined(__x86_64__)
  void** top = reinterpret_cast<void**>(stack + stack_bytes);
  *--top = nullptr;  // where entry would return to
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; i++) *--top = nullptr;
  stack_pointer_ = top;
#else
  getcontext(&context_);
  context_.uc_stack = {.ss_sp = stack, .ss_size = stack_bytes};
  context_.uc_link = nullptr;
  makecontext(&context_, entry, 0);
#endif
}

void Fiber::switch_to(Fiber& to, [[maybe_unused]] bool last) {
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  left = stack_ ? nullptr : this;
  __sanitizer_start_switch_fiber(last ? nullptr : &fake_stack, to.stack_, to.size_);
#endif
#if defined(__x86_64__)
  simt_switch_stacks(&stack_pointer_, to.stack_pointer_);
#else
  swapcontext(&context_, &to.context_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

void Fiber::started() {
#if defined(__SANITIZE_ADDRESS__)
  const void* stack;
  size_t size;
  __sanitizer_finish_switch_fiber(nullptr, &stack, &size);
  if (left) {
    left->stack_ = stack;
    left->size_ = size;
  }
#endif
}

Stacks::Stacks(size_t count) : count_(count) {
  void* memory =
      mmap(nullptr, count * step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  memory_ = static_cast<char*>(memory);
  for (size_t i = 0; i < count; i++) mprotect(memory_ + i * step, guard, PROT_NONE);
}

Stacks::~Stacks() {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(memory_, count_ * step);  // frames' marks would outlive the mapping, and mean its next user
#endif
  munmap(memory_, count_ * step);
}

}  // namespace simt
