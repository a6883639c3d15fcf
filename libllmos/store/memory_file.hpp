// SPDX-License-Identifier: MIT
// The bytes of a model of the in-process store: a memfd, written through a mapping, then sealed and mapped read-only.
#pragma once

#include <llmos/llmos.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "system/fd.hpp"
#include "system/mapping.hpp"

namespace llmos::core {

class MemoryFile {
 public:
  // Takes all the memory now, in huge pages where they can be had, on the nodes that the options mean. Throws ENOMEM.
  MemoryFile(const std::string& name, const llmos_model_options& options);

  // Both may be called from several threads at once, on different bytes. Throw EFBIG past the end.
  void write(uint64_t offset, std::span<const std::byte> bytes);
  // False when the file refuses (O_DIRECT where there is none). Throws ENODATA when it ends too early.
  bool read_from(int file, uint64_t offset, uint64_t length);

  // From here on the content cannot be changed, by this process neither.
  void seal();

  int fd() const { return fd_.get(); }
  std::span<const std::byte> bytes() const { return mapping_.bytes(); }
  uint64_t resident() const;
  uint64_t huge() const { return huge_bytes(mapping_.bytes().data()); }

 private:
  std::span<std::byte> at(uint64_t offset, uint64_t length) const;
  void allocate(unsigned threads, bool huge) const;

  Fd fd_;
  Mapping mapping_;  // writable until the seal
};

}  // namespace llmos::core
