// SPDX-License-Identifier: MIT
// Several calls in a row that nobody else can disturb, and what must be true after them.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "../verity.hpp"
#include "world.hpp"

namespace llmos::fuzz {

using guest::Fd, guest::huge_page, guest::page;

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

// The same file under a number that no other thread still holds from a descriptor that was closed.
static Fd set_aside(Fd fd) { return fd < 0 ? std::move(fd) : Fd(fcntl(fd, F_DUPFD_CLOEXEC, 600)); }

// A model made as a loader makes it. Without these few others would be sealed.
static long make_model(World& world, Random& random) {
  auto args = guest::sized<llmos_model_create>();
  world.name(random, args.name);
  args.bytes = random.chance(80) ? random.between(1, 16 * page) : random.between(1, 3 * huge_page);
  args.flags = LLMOS_CREATE_REPLACE | (random.chance(70) ? LLMOS_MODEL_EVICTABLE : 0);
  args.mode = 0444;
  args.uid = args.gid = -1;
  args.priority = random.pick({-1, 0, 1});
  const uint64_t seed = random.next(), at = random.below(args.bytes);
  const int device = world.fd(random, Kind::device);
  const Fd fd = set_aside(Fd(ioctl(device, LLMOS_MODEL_CREATE, &args)));
  if (fd < 0) return -errno;

  auto fill = guest::sized<llmos_model_fill>();
  fill.fd = world.fd(random, Kind::source);
  fill.depth = static_cast<uint32_t>(random.below(4));
  if (random.chance(60)) ioctl(fd, LLMOS_MODEL_FILL, &fill);

  std::byte data[page];
  const size_t size = std::min<uint64_t>(sizeof(data), args.bytes - at);
  guest::pattern(std::span(data, size), at, seed);
  if (pwrite(fd, data, size, static_cast<off_t>(at)) != static_cast<ssize_t>(size)) return -errno;
  auto seal = guest::sized<llmos_model_seal>();
  if (ioctl(fd, LLMOS_MODEL_SEAL, &seal)) return -errno;

  std::byte back[page];
  const ssize_t n = pread(fd, back, size, static_cast<off_t>(at));
  if (n > 0 && memcmp(data, back, n)) world.violation("a sealed model does not hold what was written to it");
  return 0;
}

// The bytes of a sealed model have the digest that it was sealed with, whatever anybody did since.
static long verify(World& world, Random& random) {
  const Fd fd(open(world.path(random).c_str(), O_RDONLY | O_CLOEXEC));
  struct stat stat;
  if (fd < 0 || fstat(fd, &stat) || !S_ISREG(stat.st_mode)) return -errno;
  const auto measured = guest::measured_digest(fd);
  if (!measured) return -errno;
  const auto computed = guest::verity_digest(fd, stat.st_size);
  if (!computed) return -errno;
  if (*measured != *computed) world.violation("the bytes of a sealed model changed");
  return 0;
}

static bool readable(std::byte* at) {
  return survives([&] { static_cast<void>(*static_cast<volatile std::byte*>(at)); });
}

// After a revocation neither the descriptor nor the mapping gives anything away.
static void expect_revoked(World& world, const Fd& fd, std::byte* at, size_t size) {
  char byte;
  if (readable(at)) world.violation("a revoked mapping can be read");
  madvise(at, size, MADV_POPULATE_READ);
  madvise(at, size, MADV_COLLAPSE);
  if (readable(at) || readable(at + size - 1)) world.violation("a revoked mapping can be read after madvise()");
  if (pread(fd, &byte, 1, 0) >= 0) world.violation("a revoked descriptor can be read");
}

static long revoke_own(World& world, Random& random) {
  auto args = guest::sized<llmos_model_revoke>();
  snprintf(args.name, sizeof(args.name), "m%lu", random.below(names));
  args.flags = LLMOS_REVOKE_KEEP_ACCESS;
  args.subject = LLMOS_SUBJECT_PID;
  args.value = getpid();
  const bool touched = random.chance(70), shared = random.chance(70);
  const int device = world.fd(random, Kind::device);

  const Fd fd = set_aside(Fd(open((guest::models_dir + "/" + args.name).c_str(), O_RDONLY | O_CLOEXEC)));
  struct stat stat;
  if (fd < 0 || fstat(fd, &stat)) return -errno;
  const size_t size = stat.st_size;
  void* const where = mmap(nullptr, size, PROT_READ, shared ? MAP_SHARED : MAP_PRIVATE, fd, 0);
  if (where == MAP_FAILED) return -errno;
  auto* const at = static_cast<std::byte*>(where);
  if (touched) readable(at);

  const long ret = result(ioctl(device, LLMOS_MODEL_REVOKE, &args));
  // Else the name may have become another model's before the call.
  if (ret == 0 && fstat(fd, &stat) == 0 && stat.st_nlink == 1) expect_revoked(world, fd, at, size);
  munmap(where, size);
  return ret;
}

std::vector<Call> composite_calls() {
  return {{"make a model", 60, make_model}, {"verify", 3, verify}, {"revoke own grant", 8, revoke_own}};
}

}  // namespace llmos::fuzz
