// SPDX-License-Identifier: MIT
#include "verity.hpp"

#include <linux/fsverity.h>
#include <openssl/sha.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

namespace llmos::guest {

static constexpr size_t block = 4096;

// Documentation/filesystems/fsverity.rst, "fs-verity descriptor".
struct Descriptor {
  uint8_t version = 1, algorithm = FS_VERITY_HASH_ALG_SHA256, log_block = 12, salt_size = 0;
  uint32_t signature_size = 0;
  uint64_t data_size = 0;
  uint8_t root[64] = {}, salt[32] = {}, reserved[144] = {};
};
static_assert(sizeof(Descriptor) == 256);

static Digest sha256(const void* data, size_t size) {
  Digest digest;
  SHA256(static_cast<const unsigned char*>(data), size, digest.data());
  return digest;
}

static std::optional<std::vector<Digest>> leaves(int fd, uint64_t bytes) {
  std::vector<Digest> hashes;
  std::array<unsigned char, block> data;
  for (uint64_t at = 0; at < bytes; at += block) {
    const size_t wanted = std::min<uint64_t>(block, bytes - at);
    const ssize_t n = pread(fd, data.data(), wanted, static_cast<off_t>(at));
    if (n < 0) return std::nullopt;
    if (static_cast<size_t>(n) != wanted) return errno = EIO, std::nullopt;
    std::fill(data.begin() + n, data.end(), 0);
    hashes.push_back(sha256(data.data(), block));
  }
  return hashes;
}

std::optional<Digest> verity_digest(int fd, uint64_t bytes) {
  auto level = leaves(fd, bytes);
  if (!level) return std::nullopt;
  while (level->size() > 1) {
    level->resize((level->size() + 127) / 128 * 128, Digest{});
    std::vector<Digest> above;
    for (size_t i = 0; i < level->size(); i += 128) above.push_back(sha256(&(*level)[i], block));
    *level = std::move(above);
  }
  Descriptor descriptor;
  descriptor.data_size = bytes;
  memcpy(descriptor.root, level->front().data(), sizeof(Digest));
  return sha256(&descriptor, sizeof(descriptor));
}

std::optional<Digest> measured_digest(int fd) {
  alignas(fsverity_digest) std::byte args[sizeof(fsverity_digest) + sizeof(Digest)] = {};
  auto* const head = reinterpret_cast<fsverity_digest*>(args);
  head->digest_size = sizeof(Digest);
  if (ioctl(fd, FS_IOC_MEASURE_VERITY, head)) return std::nullopt;
  Digest digest;
  memcpy(digest.data(), head->digest, sizeof(digest));
  return digest;
}

}  // namespace llmos::guest
