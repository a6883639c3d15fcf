// SPDX-License-Identifier: MIT
#include "world.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstring>
#include <new>

namespace llmos::fuzz {

using guest::page;

// The thread's buffer. No page follows it: a call that is told a length beyond its end must not reach what is ours.
static std::byte* scratch() {
  static thread_local std::byte* const buffer = [] {
    void* const where =
        mmap(nullptr, World::buffer_size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (where == MAP_FAILED) throw std::bad_alloc();
    auto* const begin = static_cast<std::byte*>(where);
    if (mprotect(begin + World::buffer_size, page, PROT_NONE)) throw std::bad_alloc();
    return begin;
  }();
  return buffer;
}

World::World(Shared& shared, const Options& options, const PolicyPins& policies, unsigned process,
             std::array<int, 2> post)
    : shared(shared), options(options), policies(policies), process(process), post(post) {
  for (auto& kind : fds_)
    for (auto& fd : kind) fd = -1;
}

int World::fd(Random& random, Kind kind) const {
  const size_t wanted = random.chance(95) ? static_cast<size_t>(kind) : random.below(kinds);
  const size_t slot = random.below(fds_per_kind);
  if (random.chance(1)) return random.pick({-1, AT_FDCWD, 3000, INT_MAX, INT_MIN});
  return fds_[wanted][slot];
}

long World::keep(Random& random, Kind kind, int fd) {
  const size_t slot = random.below(fds_per_kind);
  if (fd < 0) return -errno;
  const int old = fds_[static_cast<size_t>(kind)][slot].exchange(fd);
  if (old >= 0) close(old);
  return fd;
}

long World::drop(Random& random, Kind kind) {
  const int old = fds_[static_cast<size_t>(kind)][random.below(fds_per_kind)].exchange(-1);
  return old < 0 ? -EBADF : result(close(old));
}

std::byte* World::window(size_t index) { return reinterpret_cast<std::byte*>(0x100000000000 + index * 2 * window_size); }

std::byte* World::address(Random& random) {
  std::byte* base = window(random.below(windows));
  switch (random.below(8)) {
    case 0: return base + random.below(window_size);
    case 1: return base + guest::huge_page * random.below(4);
    case 2: return base + page * random.below(2 * guest::huge_page / page);
    default: return base;
  }
}

size_t World::length(Random& random) {
  switch (random.below(6)) {
    case 0: return random.between(1, page);
    case 1: return random.between(1, 64 * guest::KiB);
    case 2: return page * random.between(1, 32);
    case 3: return random.between(1, window_size / 2);
    default: return guest::huge_page * random.between(1, 4);
  }
}

void* World::buffer(Random& random) const {
  std::byte* place = address(random);
  const size_t offset = random.below(buffer_size);
  const uint64_t garbage = random.garbage();
  switch (random.below(24)) {
    case 0: return reinterpret_cast<void*>(garbage);
    case 1:
    case 2: return place;
    case 3: return scratch() + offset;
    default: return scratch();
  }
}

void World::violation(const std::string& text) {
  if (!shared.violated.exchange(true)) snprintf(shared.violation, sizeof(shared.violation), "%s", text.c_str());
  shared.stop = true;
}

void World::name(Random& random, char (&out)[LLMOS_NAME_SIZE]) const {
  const uint64_t any = random.below(names), own = process % 4 * (names / 4) + any % (names / 4);
  const uint64_t number = random.chance(50) ? own : any, kind = random.below(400);
  memset(out, 0, sizeof(out));
  switch (kind) {
    case 0: return;
    case 1: memset(out, 'x', sizeof(out)); return;
    case 2: memset(out, 'x', sizeof(out) - 1); return;
    case 3: strcpy(out, ".hidden"); return;
    case 4: strcpy(out, "../etc"); return;
    case 5: strcpy(out, "-m"); return;
    case 6: strcpy(out, "a b\n"); return;
    case 7:
      for (char& c : out) c = static_cast<char>(random.next());
      return;
    default: snprintf(out, sizeof(out), "m%lu", number);
  }
}

std::string World::path(Random& random) const {
  char name[LLMOS_NAME_SIZE];
  this->name(random, name);
  name[sizeof(name) - 1] = 0;
  return guest::models_dir + "/" + name;
}

// ---- memory that may not be there ----

FaultPoint& fault_point() {
  static thread_local FaultPoint point;
  return point;
}

static bool faults_injected;

static void on_fault(int signal, siginfo_t* info, void*) {
  if (fault_point().armed) siglongjmp(fault_point().place, 1);
  if (faults_injected && info->si_code == SI_KERNEL) return;  // it could not write to its part of the stack, or to rseq
  char text[96];
  const int length = snprintf(text, sizeof(text), "fuzz: signal %d, code %d, at %p outside of a call\n", signal,
                              info->si_code, info->si_addr);
  if (write(2, text, length) < 0) _exit(98);
  _exit(99);
}

void catch_faults(bool injected) {
  faults_injected = injected;
  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  sigaction(SIGBUS, &action, nullptr);
  sigaction(SIGSEGV, &action, nullptr);
}

}  // namespace llmos::fuzz
