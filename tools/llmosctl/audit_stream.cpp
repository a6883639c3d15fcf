// SPDX-License-Identifier: MIT
#include "audit_stream.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <llmos/llmos.hpp>
#include <string_view>

#include "audit_record.hpp"

namespace llmosctl {

using llmos::Error;

namespace {

// What libbpf had to say; the last of it goes into our own message.
std::string complaints;

int keep_complaint(libbpf_print_level level, const char* format, va_list arguments) {
  char text[1024];
  if (level == LIBBPF_WARN && std::vsnprintf(text, sizeof(text), format, arguments) > 0) complaints += text;
  return 0;
}

[[noreturn]] void fail(const std::string& what, int error) {
  if (error == EPERM || error == EACCES) throw Error(EPERM, fmt::format("cannot {}: this needs root", what));
  while (complaints.ends_with('\n')) complaints.pop_back();
  throw Error(error,
              fmt::format("cannot {}: {}{}{}", what, std::strerror(error), complaints.empty() ? "" : "\n", complaints));
}

// Programs say in their section's name where they go: "fexit/llmos_hook_lane_key".
std::string hook_of(const bpf_program* program) {
  constexpr std::string_view mark = "llmos_hook_";
  const std::string section = bpf_program__section_name(program);
  const size_t at = section.find(mark);
  return at == section.npos ? "" : section.substr(at + mark.size());
}

}  // namespace

struct AuditStream::State {
  struct Batch {
    std::vector<llmos_audit_record> records;
    uint64_t most = 0;
  };

  bpf_object* object = nullptr;
  std::vector<bpf_link*> links;
  ring_buffer* ring = nullptr;
  int counts = -1;
  Batch batch;

  ~State() {
    detach();
    ring_buffer__free(ring);
    bpf_object__close(object);
  }

  void detach() {
    for (bpf_link* link : links) bpf_link__destroy(link);
    links.clear();
  }

  int map(const char* name) const {
    const int fd = bpf_object__find_map_fd_by_name(object, name);
    if (fd < 0)
      throw Error(EINVAL, fmt::format("the policy \"audit\" has no map \"{}\": it is of another version", name));
    return fd;
  }

  void load(const std::string& path, const std::set<std::string>& hooks) {
    object = bpf_object__open(path.c_str());
    if (!object) fail("read " + path, errno);
    bpf_program* program;
    bpf_object__for_each_program(program, object) bpf_program__set_autoload(program, hooks.contains(hook_of(program)));
    if (const int error = bpf_object__load(object)) fail("load " + path, -error);
  }

  // Only then are the programs attached: every record is of what was wanted.
  void set_knob(const std::set<std::string>& hooks) const {
    const uint32_t zero = 0;
    uint32_t decisions = 0;
    for (const AuditHook& hook : audit_hooks())
      if (hooks.contains(hook.name)) decisions |= 1U << hook.decision;
    if (const int error = bpf_map_update_elem(map("knobs"), &zero, &decisions, BPF_ANY)) fail("set the knob", -error);
  }

  void attach() {
    bpf_program* program;
    bpf_object__for_each_program(program, object) {
      if (!bpf_program__autoload(program)) continue;
      bpf_link* link = bpf_program__attach(program);
      if (!link) fail("attach to the hook " + hook_of(program), errno);
      links.push_back(link);
    }
  }

  static int take(void* to, void* data, size_t size) {
    auto& batch = *static_cast<Batch*>(to);
    llmos_audit_record record{};
    std::memcpy(&record, data, std::min(size, sizeof(record)));
    batch.records.push_back(record);
    return batch.records.size() < batch.most ? 0 : -ECANCELED;  // which has been taken, though
  }

  // The kernel skips a program, silently but for this count, that is running on the same CPU already.
  uint64_t skipped() const {
    uint64_t sum = 0;
    bpf_program* program;
    bpf_object__for_each_program(program, object) {
      bpf_prog_info info{};
      uint32_t size = sizeof(info);
      const int fd = bpf_program__fd(program);
      if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0) sum += info.recursion_misses;
    }
    return sum;
  }
};

AuditStream::AuditStream(const std::filesystem::path& object, const std::set<std::string>& hooks)
    : state_(std::make_unique<State>()) {
  complaints.clear();
  libbpf_set_print(keep_complaint);
  state_->load(object, hooks);
  state_->set_knob(hooks);
  state_->counts = state_->map("counts");
  state_->ring = ring_buffer__new(state_->map("records"), State::take, &state_->batch, nullptr);
  if (!state_->ring) fail("read the ring buffer", errno);
  state_->attach();
}

AuditStream::~AuditStream() = default;

int AuditStream::fd() const { return ring_buffer__epoll_fd(state_->ring); }

std::vector<llmos_audit_record> AuditStream::read(uint64_t most) {
  state_->batch = {{}, most};
  const int error = ring_buffer__consume(state_->ring);
  if (error < 0 && error != -ECANCELED) fail("read the ring buffer", -error);
  return std::move(state_->batch.records);
}

uint64_t AuditStream::lost() const {
  const uint32_t zero = 0;
  llmos_audit_counts counts{};
  bpf_map_lookup_elem(state_->counts, &zero, &counts);
  return counts.lost + state_->skipped();
}

void AuditStream::detach() { state_->detach(); }

}  // namespace llmosctl
