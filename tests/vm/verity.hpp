// SPDX-License-Identifier: MIT
// The fs-verity digest of a file (SHA-256, blocks of 4096 bytes, no salt), computed here from its bytes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace llmos::guest {

using Digest = std::array<uint8_t, 32>;

std::optional<Digest> verity_digest(int fd, uint64_t bytes);  // nothing when a read fails, errno says why
std::optional<Digest> measured_digest(int fd);                // by FS_IOC_MEASURE_VERITY

}  // namespace llmos::guest
