// SPDX-License-Identifier: MIT
// Where there was no libbpf to build with.
#include <cerrno>
#include <llmos/llmos.hpp>

#include "audit_stream.hpp"

namespace llmosctl {

struct AuditStream::State {};

AuditStream::AuditStream(const std::filesystem::path&, const std::set<std::string>&) {
  throw llmos::Error(EOPNOTSUPP,
                     "this llmosctl was built without libbpf (Debian's package is called libbpf-dev), and cannot read "
                     "decisions; attach the policy \"audit\" and read its ring buffer by other means");
}

AuditStream::~AuditStream() = default;
int AuditStream::fd() const { return -1; }
std::vector<llmos_audit_record> AuditStream::read(uint64_t) { return {}; }
uint64_t AuditStream::lost() const { return 0; }
void AuditStream::detach() {}

}  // namespace llmosctl
