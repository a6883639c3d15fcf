// SPDX-License-Identifier: MIT
// The little of bpf(2) that policies need once bpftool has loaded them: pins, and maps of one entry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace llmosctl {

// Mounts the BPF filesystem on /sys/fs/bpf where it is not. Throws Error.
void mount_bpf();

// The beginning of the entry with key 0 of a pinned array; false where there is no such map, none so large, or no
// right.
bool read_pinned(const std::string& path, void* data, size_t size);
std::optional<uint32_t> read_pinned_number(const std::string& path);
// Throws Error: ENOENT, EPERM.
void write_pinned_number(const std::string& path, uint32_t number);

}  // namespace llmosctl
