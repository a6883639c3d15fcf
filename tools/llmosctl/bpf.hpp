// SPDX-License-Identifier: MIT
// The little of bpf(2) that policies need once bpftool has loaded them: pins, and maps of one number.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace llmosctl {

// Mounts the BPF filesystem on /sys/fs/bpf where it is not. Throws Error.
void mount_bpf();

// The first four bytes of the entry with key 0 of a pinned array; nothing where there is no such map, or no right.
std::optional<uint32_t> read_pinned_number(const std::string& path);
// Throws Error: ENOENT, EPERM.
void write_pinned_number(const std::string& path, uint32_t number);

}  // namespace llmosctl
