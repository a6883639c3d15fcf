// SPDX-License-Identifier: MIT
// Decisions as they are made: the policy `audit`, loaded, attached and read by libbpf.
#pragma once

#include <llmos/audit.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace llmosctl {

// Attached while this lives, and no longer than the process: nothing is pinned.
class AuditStream {
 public:
  // To these hooks; the others' programs are not even loaded. Throws Error: EPERM without the right, EOPNOTSUPP where
  // llmosctl was built without libbpf, or what the kernel said.
  AuditStream(const std::filesystem::path& object, const std::set<std::string>& hooks);
  AuditStream(const AuditStream&) = delete;
  AuditStream& operator=(const AuditStream&) = delete;
  ~AuditStream();

  int fd() const;  // readable while there are records
  // Those that are there, the oldest first, at most so many.
  std::vector<llmos_audit_record> read(uint64_t most);
  // Decisions that could not be recorded, so far.
  uint64_t lost() const;
  // No more come; what is there can still be read.
  void detach();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace llmosctl
