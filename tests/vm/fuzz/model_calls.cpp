// SPDX-License-Identifier: MIT
// The commands of <linux/llmos.h>, one by one, with arguments that are mostly right.
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/fsverity.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstring>

#include "world.hpp"

namespace llmos::fuzz {

using guest::huge_page, guest::KiB, guest::page;

// Issues the command; sometimes with another size, with rubbish behind or inside the struct, or at a bad address.
template <typename Args>
static long issue(World& world, Random& random, int fd, unsigned long number, Args& args) {
  static thread_local std::byte place[8192];
  const unsigned oddity = random.below(100);
  const uint64_t size = random.garbage(), byte = random.below(sizeof(args)), value = random.next();
  void* const buffer = world.buffer(random);
  memset(place, 0, 2 * sizeof(args));
  memcpy(place, &args, sizeof(args));
  switch (oddity) {
    case 0: return result(ioctl(fd, number, buffer));
    case 1: args.size = static_cast<uint32_t>(size); break;
    case 2: args.size = static_cast<uint32_t>(size % (2 * sizeof(args))); break;
    case 3: reinterpret_cast<std::byte*>(&args)[byte] = static_cast<std::byte>(value); break;
    case 4: place[sizeof(args) + byte] = static_cast<std::byte>(value); args.size = 2 * sizeof(args); break;
    default: break;
  }
  memcpy(place, &args, sizeof(args));
  const long ret = result(ioctl(fd, number, place));
  memcpy(&args, place, sizeof(args));
  return ret;
}

template <typename Args>
static Args named(const World& world, Random& random) {
  auto args = guest::sized<Args>();
  world.name(random, args.name);
  return args;
}

static uint64_t model_bytes(Random& random) {
  switch (random.below(40)) {
    case 0: return random.garbage();
    case 1: return random.pick<uint64_t>({0, 1, 4095, 4096, 4097, 512 * KiB - 1, 512 * KiB + 1});
    case 2: return random.pick<uint64_t>({1ULL << 40, (1ULL << 46) + 1, 1ULL << 63, ~0ULL});
    case 3: return random.between(1, 24 * huge_page);
    case 4:
    case 5:
    case 6:
    case 7: return random.between(1, 4) * huge_page + random.pick<uint64_t>({0, 1, 4095, 4096, ~0ULL, 777777});
    default: return random.between(1, 24 * page);
  }
}

static long query(World& world, Random& random) {
  auto args = guest::sized<llmos_query>();
  args.abi = static_cast<uint32_t>(random.mostly(LLMOS_ABI_VERSION));
  args.features = random.mostly(random.below(64));
  return issue(world, random, world.fd(random, Kind::device), LLMOS_QUERY, args);
}

static long open_device(World& world, Random& random) {
  const int fd = open("/dev/llmos", random.pick({O_RDWR, O_RDONLY}) | O_CLOEXEC);
  auto args = guest::sized<llmos_query>();
  args.abi = LLMOS_ABI_VERSION;
  if (fd >= 0 && random.chance(95)) ioctl(fd, LLMOS_QUERY, &args);
  return world.keep(random, Kind::device, fd);
}

static long create(World& world, Random& random) {
  auto args = named<llmos_model_create>(world, random);
  args.bytes = model_bytes(random);
  args.flags = random.flags({LLMOS_MODEL_EVICTABLE, LLMOS_MODEL_EVICTABLE}) | (random.chance(75) ? LLMOS_CREATE_REPLACE : 0);
  args.mode = static_cast<uint32_t>(random.mostly(random.pick({0444, 0440, 0400, 0644, 0777, 0}), 99));
  args.uid = static_cast<uint32_t>(random.mostly(random.pick({-1, -1, -1, -1, -1, -1, 0, 1000}), 99));
  args.gid = static_cast<uint32_t>(random.mostly(random.pick({-1, -1, -1, -1, -1, -1, 0, 1000}), 99));
  args.page_shift = static_cast<uint32_t>(random.mostly(random.pick({0, 0, 0, 0, 12, 16, 21, 21}), 98));
  args.priority = static_cast<int32_t>(random.garbage());
  args.node_policy = static_cast<uint32_t>(random.mostly(random.pick({0, 0, 0, 1, 2}), 99));
  args.nodes = random.mostly(args.node_policy ? 1 : 0, 98);
  const long fd = issue(world, random, world.fd(random, Kind::device), LLMOS_MODEL_CREATE, args);
  if (fd >= 0) world.keep(random, Kind::loader, static_cast<int>(fd));
  return fd;
}

static long fill(World& world, Random& random) {
  auto args = guest::sized<llmos_model_fill>();
  args.fd = world.fd(random, random.chance(95) ? Kind::source : Kind::model);
  args.offset = random.mostly(random.pick<uint64_t>({0, 0, 0, page, 3 * page, huge_page, 5}));
  args.source_offset = random.mostly(random.pick<uint64_t>({0, 0, 0, page, 512, huge_page, 5}));
  args.length = random.mostly(random.pick<uint64_t>({0, 0, page, 8 * page, huge_page, 5}));
  args.depth = static_cast<uint32_t>(random.mostly(random.pick({0, 1, 2, 16, 256, 257})));
  return issue(world, random, world.fd(random, Kind::loader), LLMOS_MODEL_FILL, args);
}

static long seal(World& world, Random& random) {
  auto args = guest::sized<llmos_model_seal>();
  if (random.chance(5)) {
    args.signature_size = static_cast<uint32_t>(random.mostly(random.below(LLMOS_SIGNATURE_MAX + 2)));
    args.signature = reinterpret_cast<uint64_t>(world.buffer(random));
  }
  return issue(world, random, world.fd(random, Kind::loader), LLMOS_MODEL_SEAL, args);
}

static long stat_fd(World& world, Random& random) {
  auto args = guest::sized<llmos_model_stat>();
  return issue(world, random, world.fd(random, random.pick({Kind::model, Kind::loader})), LLMOS_MODEL_STAT, args);
}

static long stat_name(World& world, Random& random) {
  auto args = named<llmos_model_stat>(world, random);
  return issue(world, random, world.fd(random, Kind::device), LLMOS_MODEL_STAT, args);
}

static long remove_model(World& world, Random& random) {
  auto args = named<llmos_model_name>(world, random);
  args.flags = static_cast<uint32_t>(random.mostly(0, 99));
  return issue(world, random, world.fd(random, Kind::device), LLMOS_MODEL_REMOVE, args);
}

static long evict(World& world, Random& random) {
  auto args = named<llmos_model_name>(world, random);
  args.flags = static_cast<uint32_t>(random.mostly(0, 99));
  return issue(world, random, world.fd(random, Kind::device), LLMOS_MODEL_EVICT, args);
}

static long set(World& world, Random& random) {
  auto args = named<llmos_model_set>(world, random);
  args.mask = static_cast<uint32_t>(random.mostly(random.below(4)));
  args.flags = static_cast<uint32_t>(random.mostly(random.below(2)));
  args.priority = static_cast<int32_t>(random.garbage());
  return issue(world, random, world.fd(random, Kind::device), LLMOS_MODEL_SET, args);
}

// Mostly without a deny list: else soon nobody could open anything.
static long revoke(World& world, Random& random) {
  auto args = named<llmos_model_revoke>(world, random);
  const unsigned other = random.below(processes_max);
  args.flags = static_cast<uint32_t>(random.mostly(
      random.pick<uint64_t>({LLMOS_REVOKE_KEEP_ACCESS, LLMOS_REVOKE_KEEP_ACCESS, LLMOS_REVOKE_ALLOW, 0}), 99));
  args.subject = static_cast<uint32_t>(random.mostly(random.between(1, 3)));
  const int64_t cgroup = world.fd(random, Kind::cgroup), uid = random.pick({0, 1000, 1001, 1002});
  const int64_t subjects[] = {0, uid, world.shared.pid[other], cgroup};
  args.value = static_cast<int64_t>(random.mostly(subjects[args.subject % 4], 98));
  return issue(world, random, world.fd(random, Kind::device), LLMOS_MODEL_REVOKE, args);
}

static long list(World& world, Random& random) {
  auto args = named<llmos_grant_list>(world, random);
  args.grants = reinterpret_cast<uint64_t>(world.buffer(random));
  args.count = static_cast<uint32_t>(random.mostly(random.below(World::buffer_size / sizeof(llmos_grant))));
  args.after = random.mostly(0, 80);
  args.entry_size = static_cast<uint32_t>(random.mostly(sizeof(llmos_grant)));
  return issue(world, random, world.fd(random, Kind::device), LLMOS_GRANT_LIST, args);
}

static long dmabuf(World& world, Random& random) {
  auto args = guest::sized<llmos_model_dmabuf>();
  args.flags = static_cast<uint32_t>(random.mostly(random.below(2)));
  const long fd = issue(world, random, world.fd(random, random.pick({Kind::model, Kind::loader})), LLMOS_MODEL_DMABUF,
                        args);
  if (fd >= 0) world.keep(random, Kind::dmabuf, static_cast<int>(fd));
  return fd;
}

static long dmabuf_call(World& world, Random& random) {
  const int fd = world.fd(random, Kind::dmabuf);
  dma_buf_sync sync = {random.flags({DMA_BUF_SYNC_READ, DMA_BUF_SYNC_WRITE, DMA_BUF_SYNC_END})};
  char name[32] = "fuzz";
  switch (random.below(3)) {
    case 0: return result(ioctl(fd, DMA_BUF_IOCTL_SYNC, &sync));
    case 1: return result(ioctl(fd, DMA_BUF_SET_NAME_B, name));
    default: return result(lseek(fd, 0, random.pick({SEEK_SET, SEEK_END})));
  }
}

static long measure(World& world, Random& random) {
  alignas(fsverity_digest) std::byte args[sizeof(fsverity_digest) + 64] = {};
  reinterpret_cast<fsverity_digest*>(args)->digest_size = static_cast<uint16_t>(random.mostly(random.pick({32, 64, 31, 0})));
  void* const buffer = world.buffer(random);
  return result(ioctl(world.fd(random, random.pick({Kind::model, Kind::loader})), FS_IOC_MEASURE_VERITY,
                      random.chance(90) ? args : buffer));
}

// Any number near ours, any bytes.
static long raw(World& world, Random& random) {
  std::byte bytes[512];
  for (std::byte& byte : bytes) byte = random.chance(70) ? std::byte{0} : static_cast<std::byte>(random.next());
  const uint32_t size = static_cast<uint32_t>(random.mostly(random.between(4, sizeof(bytes))));
  memcpy(bytes, &size, sizeof(size));
  const unsigned long number = _IO(LLMOS_IOC_MAGIC, random.below(0x40)) ^ (random.chance(20) ? random.garbage() : 0);
  const int fd = world.fd(random, random.pick({Kind::device, Kind::loader, Kind::model}));
  return result(ioctl(fd, number, random.chance(95) ? static_cast<void*>(bytes) : world.buffer(random)));
}

std::vector<Call> model_calls() {
  return {
      {"query", 10, query},       {"open device", 10, open_device}, {"create", 60, create},
      {"fill", 50, fill},         {"seal", 60, seal},               {"stat of descriptor", 20, stat_fd},
      {"stat of name", 20, stat_name}, {"remove", 12, remove_model}, {"evict", 15, evict},
      {"set", 20, set},           {"revoke", 15, revoke},           {"list grants", 20, list},
      {"export dma-buf", 20, dmabuf}, {"dma-buf call", 10, dmabuf_call}, {"measure", 20, measure},
      {"any ioctl", 30, raw},
  };
}

}  // namespace llmos::fuzz
