// SPDX-License-Identifier: MIT
#include "store/memory_file.hpp"

#include <fcntl.h>
#include <numaif.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "store/store.hpp"
#include "system/error.hpp"
#include "system/parallel.hpp"
#include "system/topology.hpp"

// Newer than some C libraries we build with.
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace llmos::core {
namespace {

constexpr uint64_t kDirectAlignment = 4096;  // satisfies every device we know of

Fd memory_fd(const std::string& name, uint64_t size) {
  constexpr unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  const std::string label = "llmos:" + name;
  Fd fd(::memfd_create(label.c_str(), flags | MFD_NOEXEC_SEAL));
  if (!fd && errno == EINVAL) fd = Fd(::memfd_create(label.c_str(), flags));  // before Linux 6.3
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(size)) != 0)
    fail_errno(fmt::format("cannot make a memory file of {} bytes for model \"{}\"", size, name));
  return fd;
}

void check_available(const std::string& name, uint64_t size) {
  // Asked first because the kernel's own answer, in a cgroup, would be to kill us.
  const uint64_t available = available_memory();
  if (size > available)
    fail(ENOMEM, "model \"{}\" needs {} bytes of memory and {} are available: free some, or use a smaller model", name,
         size, available);
}

void place(std::span<std::byte> bytes, const llmos_model_options& options) {
  const unsigned long nodes = checked_nodes(options);
  if (options.node_policy == LLMOS_NODES_LOCAL) return;
  const int policy = options.node_policy == LLMOS_NODES_BIND ? MPOL_BIND : MPOL_INTERLEAVE;
  if (::mbind(bytes.data(), bytes.size(), policy, &nodes, LLMOS_NODES_MAX + 1, 0) != 0)
    fail_errno(fmt::format("cannot place memory on NUMA nodes {}", node_list(nodes)));
}

}  // namespace

MemoryFile::MemoryFile(const std::string& name, const llmos_model_options& options) {
  if (options.page_shift && (options.page_shift < 12 || options.page_shift > 21))
    fail(EINVAL, "pages of 2^{} bytes are asked for; 2^12 to 2^21 can be had", options.page_shift);
  check_available(name, options.bytes);
  fd_ = memory_fd(name, options.bytes);
  mapping_ = Mapping(fd_.get(), options.bytes, PROT_READ | PROT_WRITE);
  place(mapping_.bytes(), options);
  allocate(options.threads, options.page_shift == 0 || options.page_shift == 21);
}

void MemoryFile::allocate(unsigned threads, bool huge) const {
  const std::span<std::byte> all = mapping_.bytes();
  if (huge) ::madvise(all.data(), all.size(), MADV_HUGEPAGE);
  const uint64_t pieces = (all.size() + kHugePage - 1) / kHugePage;
  parallel_for(pieces, threads ? threads : usable_cpus(), [&] {
    return [&](uint64_t i) {
      const auto piece = all.subspan(i * kHugePage, std::min<size_t>(kHugePage, all.size() - i * kHugePage));
      if (::madvise(piece.data(), piece.size(), MADV_POPULATE_WRITE) != 0 &&
          errno != EINVAL)  // EINVAL: before Linux 5.14
        fail(ENOMEM, "no memory for byte {} of {} of a model: {}", i * kHugePage, all.size(), std::strerror(errno));
      // Where the system gives shared memory no huge pages by itself, they can be had by asking. A refusal costs speed
      // only.
      if (huge && piece.size() == kHugePage) ::madvise(piece.data(), piece.size(), MADV_COLLAPSE);
    };
  });
}

std::span<std::byte> MemoryFile::at(uint64_t offset, uint64_t length) const {
  const std::span<std::byte> all = mapping_.bytes();
  if (offset > all.size() || length > all.size() - offset)
    fail(EFBIG, "bytes {} to {} lie past the end of the model, which has {}", offset, offset + length, all.size());
  return all.subspan(offset, length);
}

void MemoryFile::write(uint64_t offset, std::span<const std::byte> bytes) {
  std::copy(bytes.begin(), bytes.end(), at(offset, bytes.size()).begin());
}

bool MemoryFile::read_from(int file, uint64_t offset, uint64_t length) {
  const std::span<std::byte> bytes = at(offset, length);
  const bool direct = ::fcntl(file, F_GETFL) & O_DIRECT;
  if (direct && length % kDirectAlignment) return false;
  const ssize_t got = pread_all(file, bytes, offset);
  if (got < 0 && direct && errno == EINVAL) return false;
  if (got < 0) fail_errno(fmt::format("cannot read the file at byte {}", offset));
  if (static_cast<uint64_t>(got) < length)
    fail(ENODATA, "the file ended at byte {}: it became shorter while it was read",
         offset + static_cast<uint64_t>(got));
  return true;
}

void MemoryFile::seal() {
  const size_t size = mapping_.bytes().size();
  mapping_ = {};
  if (::fcntl(fd_.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    fail_errno("cannot seal the model's memory");
  mapping_ = Mapping(fd_.get(), size, PROT_READ);
  ::madvise(mapping_.bytes().data(), size,
            MADV_POPULATE_READ);  // one fault per 2 MiB, here instead of in the first token
}

uint64_t MemoryFile::resident() const {
  struct stat file;
  return ::fstat(fd_.get(), &file) == 0 ? static_cast<uint64_t>(file.st_blocks) * 512 : 0;
}

}  // namespace llmos::core
