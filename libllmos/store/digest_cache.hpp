// SPDX-License-Identifier: MIT
// Remembers the digests of files that have not changed, so that loading a model that is loaded already need not read
// the whole file again to see that it is the same. Kept per user in $XDG_CACHE_HOME/llmos/digests (or
// ~/.cache/llmos/digests).
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>

#include "store/digest.hpp"

namespace llmos::core {

// A file in a state: writing to it, or replacing it, makes another identity.
struct FileIdentity {
  uint64_t device, inode, size;
  int64_t modified_ns, changed_ns;
  bool operator==(const FileIdentity&) const = default;
};

// Nothing for a file that changed so recently that its next change might bear the same time stamp, and for what is no
// regular file.
std::optional<FileIdentity> identity_of(const struct stat& status);

// Neither ever fails: a cache that cannot be used remembers nothing.
std::optional<Digest> remembered_digest(const FileIdentity& file);
void remember_digest(const FileIdentity& file, const Digest& digest);

}  // namespace llmos::core
