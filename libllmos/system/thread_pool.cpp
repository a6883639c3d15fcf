// SPDX-License-Identifier: MIT
#include "system/thread_pool.hpp"

#include <numa.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "system/error.hpp"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace llmos::core {
namespace {

inline void relax() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until `done()`; gives the CPU away now and then, for when there are more threads than CPUs.
template <typename Done>
bool spin(unsigned rounds, Done done) {
  for (unsigned round = 0; round < rounds; round++) {
    for (unsigned i = 0; i < 4096; i++) {
      if (done()) return true;
      relax();
    }
    sched_yield();
  }
  return false;
}

// The CPUs this process may use, those of one node together.
std::vector<int> usable_cpus() {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  if (numa_available() >= 0)
    std::stable_sort(cpus.begin(), cpus.end(), [](int a, int b) { return numa_node_of_cpu(a) < numa_node_of_cpu(b); });
  return cpus;
}

void pin_to(std::jthread& thread, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  pthread_setaffinity_np(thread.native_handle(), sizeof set, &set);  // a hint: a refusal costs speed, not results
}

}  // namespace

FlushDenormals::FlushDenormals() {
#if defined(__x86_64__)
  saved_ = _mm_getcsr();
  _mm_setcsr(static_cast<unsigned>(saved_) | 0x8040);  // flush to zero, denormals are zero
#elif defined(__aarch64__)
  asm volatile("mrs %0, fpcr" : "=r"(saved_));
  asm volatile("msr fpcr, %0" ::"r"(saved_ | (1u << 24)));
#else
  saved_ = 0;
#endif
}

FlushDenormals::~FlushDenormals() {
#if defined(__x86_64__)
  _mm_setcsr(static_cast<unsigned>(saved_));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" ::"r"(saved_));
#endif
}

ThreadPool::ThreadPool(unsigned threads, bool pin) : process_(::getpid()) {
  const std::vector<int> cpus = usable_cpus();
  if (threads == 0) threads = std::max<unsigned>(1, cpus.size());
  try {
    for (unsigned thread = 1; thread < threads; thread++) {
      workers_.emplace_back([this, thread] { work(thread); });
      if (pin && !cpus.empty()) pin_to(workers_.back(), cpus[thread % cpus.size()]);
    }
  } catch (const std::system_error& error) {
    const size_t started = workers_.size();
    stop();
    fail(EAGAIN, "cannot start {} threads, the system allowed {}: {}; ask for fewer", threads, started + 1,
         error.what());
  } catch (...) {  // out of memory: those that run would be waited for
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() {
  if (::getpid() == process_)
    stop();
  else
    new std::vector(std::move(workers_));  // never to be joined
}

void ThreadPool::stop() {
  stopping_ = true;
  dispatch({});
}

void ThreadPool::dispatch(Job job) {
  job_ = job;
  unfinished_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();  // a system call only when somebody sleeps
  if (job.call) job.call(job.context, 0);
  while (!spin(1, [this] { return unfinished_.load(std::memory_order_acquire) == 0; })) {
  }
}

void ThreadPool::work(unsigned thread) {
  const FlushDenormals denormals;
  for (uint32_t seen = 0;;) {
    seen = wait_for_job(seen);
    const bool last = stopping_;
    if (job_.call) job_.call(job_.context, thread);
    unfinished_.fetch_sub(1, std::memory_order_release);
    if (last) return;
  }
}

uint32_t ThreadPool::wait_for_job(uint32_t seen) const {
  uint32_t now = seen;
  const auto changed = [&] { return (now = epoch_.load(std::memory_order_acquire)) != seen; };
  while (!spin(1, changed))
    if (bursts_.load(std::memory_order_relaxed) == 0) epoch_.wait(seen, std::memory_order_acquire);
  return now;
}

}  // namespace llmos::core
