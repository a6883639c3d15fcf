// SPDX-License-Identifier: MIT
#include "store/digest.hpp"

#include <endian.h>
#include <linux/fsverity.h>
#include <openssl/evp.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "system/error.hpp"
#include "system/fd.hpp"
#include "system/parallel.hpp"

namespace llmos::core {
namespace {

constexpr size_t kBlock = 4096;
constexpr size_t kFanout = kBlock / sizeof(Digest);  // digests in a block
constexpr size_t kChunk = size_t{2} << 20;           // one work item: a whole number of level-one blocks
constexpr size_t kChunkBlocks = kChunk / kBlock / kFanout;

// SHA-256 of one block after another; one per thread.
class Hasher {
 public:
  Hasher() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    if (!context_ || !EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr)) fail_crypto();
  }

  Digest operator()(const void* bytes, size_t size) {
    Digest digest;
    if (!EVP_DigestInit_ex(context_.get(), nullptr, nullptr) || !EVP_DigestUpdate(context_.get(), bytes, size) ||
        !EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr))
      fail_crypto();
    return digest;
  }

  // Of the last block of a file or of a level: zeros stand for what is missing.
  Digest padded(const void* bytes, size_t size) {
    if (size == kBlock) return (*this)(bytes, kBlock);
    std::array<std::byte, kBlock> block{};
    std::memcpy(block.data(), bytes, size);
    return (*this)(block.data(), kBlock);
  }

 private:
  [[noreturn]] static void fail_crypto() { fail(EIO, "libcrypto cannot compute SHA-256"); }
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

std::vector<Digest> hash_blocks(Hasher& hash, const void* data, size_t size) {
  const auto* bytes = static_cast<const std::byte*>(data);
  std::vector<Digest> digests;
  digests.reserve((size + kBlock - 1) / kBlock);
  for (size_t at = 0; at < size; at += kBlock) digests.push_back(hash.padded(bytes + at, std::min(kBlock, size - at)));
  return digests;
}

std::vector<Digest> hash_level(Hasher& hash, const std::vector<Digest>& below) {
  return hash_blocks(hash, below.data(), below.size() * sizeof(Digest));
}

Digest file_digest(Hasher& hash, uint64_t size, const Digest& root) {
  fsverity_descriptor descriptor{};
  descriptor.version = 1;
  descriptor.hash_algorithm = FS_VERITY_HASH_ALG_SHA256;
  descriptor.log_blocksize = 12;
  descriptor.data_size = htole64(size);
  std::copy(root.begin(), root.end(), descriptor.root_hash);
  return hash(&descriptor, sizeof(descriptor));
}

// `chunk(offset, size, buffer)` returns the address of that part of the content; it may use the buffer.
template <typename Chunk>
Digest digest(uint64_t size, unsigned threads, const Digested& digested, Chunk chunk) {
  Hasher hash;
  if (size == 0) return file_digest(hash, 0, {});

  const uint64_t chunks = (size + kChunk - 1) / kChunk;
  std::vector<Digest> level(chunks * kChunkBlocks);
  std::atomic<uint64_t> done{0};
  std::atomic<uint64_t> used{0};
  parallel_for(chunks, threads ? threads : usable_cpus(), [&] {
    return [&, hash = Hasher(), buffer = std::vector<std::byte>()](uint64_t i) mutable {
      const size_t length = std::min<uint64_t>(kChunk, size - i * kChunk);
      std::vector<Digest> blocks = hash_blocks(hash, chunk(i * kChunk, length, buffer), length);
      // A single block is the root itself, with no level above it.
      if (size > kBlock) blocks = hash_level(hash, blocks);
      std::copy(blocks.begin(), blocks.end(), level.begin() + static_cast<ptrdiff_t>(i * kChunkBlocks));
      used += blocks.size();
      done += length;
      if (digested) digested(done);
    };
  });

  level.resize(used);  // only the last chunk is short, so there is no gap
  while (level.size() > 1) level = hash_level(hash, level);
  return file_digest(hash, size, level.front());
}

}  // namespace

std::string to_hex(const Digest& digest) {
  std::string hex;
  for (uint8_t byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

Digest digest_bytes(std::span<const std::byte> bytes, unsigned threads, const Digested& digested) {
  return digest(bytes.size(), threads, digested,
                [&](uint64_t offset, size_t, std::vector<std::byte>&) { return bytes.data() + offset; });
}

Digest digest_file(int fd, uint64_t size, unsigned threads, const Digested& digested) {
  return digest(size, threads, digested, [&](uint64_t offset, size_t length, std::vector<std::byte>& buffer) {
    buffer.resize(kChunk);
    const ssize_t got = pread_all(fd, {buffer.data(), length}, offset);
    if (got < 0) fail_errno(fmt::format("cannot read the file at byte {} to digest it", offset));
    if (static_cast<size_t>(got) < length)
      fail(ENODATA, "the file became shorter than {} bytes while it was read", size);
    return buffer.data();
  });
}

std::optional<Digest> measured_digest(int fd) {
  alignas(fsverity_digest) std::array<std::byte, sizeof(fsverity_digest) + sizeof(Digest)> room{};
  auto* measured = reinterpret_cast<fsverity_digest*>(room.data());
  measured->digest_size = sizeof(Digest);
  if (::ioctl(fd, FS_IOC_MEASURE_VERITY, measured) != 0) return std::nullopt;
  if (measured->digest_algorithm != FS_VERITY_HASH_ALG_SHA256) return std::nullopt;
  Digest digest;
  std::memcpy(digest.data(), room.data() + sizeof(fsverity_digest), digest.size());
  return digest;
}

}  // namespace llmos::core
