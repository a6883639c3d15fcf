// SPDX-License-Identifier: MIT
// The digest that names a model's content: fs-verity's (SHA-256, blocks of 4096 bytes, no salt), which is what the
// kernel computes at the seal, ext4 measures, and "fsverity digest" prints.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>

namespace llmos::core {

using Digest = std::array<uint8_t, 32>;

std::string to_hex(const Digest& digest);

// Called from several threads with the bytes digested so far.
using Digested = std::function<void(uint64_t bytes)>;

// Of bytes in memory. `threads` 0: one per usable CPU.
Digest digest_bytes(std::span<const std::byte> bytes, unsigned threads = 0, const Digested& digested = {});

// Of `size` bytes of a file that is open for reading, by reading it. Throws ENODATA when it is shorter.
Digest digest_file(int fd, uint64_t size, unsigned threads = 0, const Digested& digested = {});

// What the file system already knows (FS_IOC_MEASURE_VERITY), when it is a digest of this kind.
std::optional<Digest> measured_digest(int fd);

}  // namespace llmos::core
