// SPDX-License-Identifier: MIT
// Every change of state, open, map, revocation and refusal is told by a tracepoint, and by an audit record.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstring>
#include <sstream>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

const std::string instances = "/sys/kernel/tracing/instances/";

// A trace buffer of its own with the module's events on.
class Trace {
 public:
  Trace() : path_(instances + "llmos-test") {
    must_shell("mkdir " + path_);
    must_write(path_ + "/events/llmos/enable", "1");
  }
  ~Trace() { shell("rmdir " + path_); }

  // The first event of that kind for that model, from its name on: "name=model ino=5 state=..."; empty: none.
  std::string find(const std::string& event, const std::string& model, const std::string& part = "") const {
    std::istringstream lines(read_file(path_ + "/trace"));
    for (std::string line; std::getline(lines, line);) {
      const auto at = line.find(" llmos_" + event + ": name=" + model + " ");
      if (at != std::string::npos && line.find(part, at) != std::string::npos)
        return line.substr(line.find("name=", at));
    }
    return "";
  }

 private:
  std::string path_;
};

// The kernel's audit records, from now on. Auditing is switched on meanwhile.
class AuditLog {
 public:
  AuditLog() : fd_(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT)) {
    sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = 1 << (AUDIT_NLGRP_READLOG - 1)};
    if (fd_ < 0 || bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address))) throw_errno("audit");
    enable(true);
  }
  ~AuditLog() { enable(false); }

  void enable(bool on) {
    struct {
      nlmsghdr head;
      audit_status status;
    } request = {};
    request.head = {sizeof(request), AUDIT_SET, NLM_F_REQUEST, 1, 0};
    request.status.mask = AUDIT_STATUS_ENABLED;
    request.status.enabled = on;
    if (send(fd_, &request, sizeof(request), 0) != sizeof(request)) throw_errno("AUDIT_SET");
  }

  // A record that has these parts, waiting for it a little; empty: none.
  std::string find(const std::vector<std::string>& parts) {
    for (const auto& record : records_) {
      if (has(record, parts)) return record;
    }
    while (receive()) {
      if (has(records_.back(), parts)) return records_.back();
    }
    return "";
  }

 private:
  static bool has(const std::string& record, const std::vector<std::string>& parts) {
    for (const auto& part : parts) {
      if (record.find(part) == std::string::npos) return false;
    }
    return true;
  }
  bool receive() {
    pollfd poll = {fd_, POLLIN, 0};
    if (::poll(&poll, 1, 1000) != 1) return false;
    char buffer[9000];
    const ssize_t n = recv(fd_, buffer, sizeof(buffer) - 1, 0);
    if (n < static_cast<ssize_t>(NLMSG_HDRLEN)) return false;
    records_.emplace_back(buffer + NLMSG_HDRLEN, n - NLMSG_HDRLEN);
    return true;
  }

  Fd fd_;
  std::vector<std::string> records_;
};

// One of everything, with what is refused.
void live() {
  const ScratchFile file("source", page);
  {
    const Fd loader = create("traced", page, {.flags = LLMOS_MODEL_EVICTABLE}), slower = create("traced", page);
    model_fill(loader, file.open());
    model_seal(loader);
    model_seal(loader);
    model_fill(loader, file.open());
    model_seal(slower);
    model_create("traced", page);
    const Fd fd = open_model("traced");
    const Mapping map(fd, page);
    revoke("traced", LLMOS_SUBJECT_UID, 1000);
    revoke("traced", LLMOS_SUBJECT_PID, getpid(), LLMOS_REVOKE_KEEP_ACCESS);
    mmap(nullptr, page, PROT_READ, MAP_SHARED, fd, 0);
    errno_as(alice, [] { return open_model("traced").release(); });
  }
  model_evict("traced");
  open_model("traced");
  model_remove("traced");
  { const Fd dropped = create("dropped", page); }
}

using Events = ModuleTest;

TEST_F(Events, EachIsTraced) {
  if (!exists(instances)) GTEST_SKIP() << "no tracing in this kernel";
  const Trace trace;
  live();
  const std::string bytes = "bytes=4096 ", good = "result=0";
  EXPECT_NE(trace.find("create", "traced", "state=filling " + bytes + good), "");
  EXPECT_NE(trace.find("fill", "traced", "state=filling " + bytes + good), "");
  EXPECT_NE(trace.find("seal", "traced", "state=sealed " + bytes + good), "");
  EXPECT_NE(trace.find("open", "traced", good), "");
  EXPECT_NE(trace.find("map", "traced", bytes + good), "");
  EXPECT_NE(trace.find("revoke", "traced", "bytes=2 " + good), "") << "the number of grants";
  EXPECT_NE(trace.find("evict", "traced", "state=evicted " + bytes + good), "");
  EXPECT_NE(trace.find("remove", "traced", good), "");
  EXPECT_NE(trace.find("free", "dropped", bytes + good), "");
}

TEST_F(Events, RefusalsAreTracedWithTheirError) {
  if (!exists(instances)) GTEST_SKIP() << "no tracing in this kernel";
  const Trace trace;
  live();
  EXPECT_NE(trace.find("create", "traced", "result=-17"), "") << "EEXIST";
  EXPECT_NE(trace.find("seal", "traced", "state=filling bytes=4096 result=-17"), "") << "EEXIST: too late";
  EXPECT_NE(trace.find("seal", "traced", "state=sealed bytes=4096 result=-1"), "") << "EPERM: sealed already";
  EXPECT_NE(trace.find("fill", "traced", "state=sealed bytes=0 result=-1"), "") << "EPERM: sealed already";
  EXPECT_NE(trace.find("map", "traced", "result=-116"), "") << "ESTALE: revoked";
  EXPECT_NE(trace.find("open", "traced", "result=-13"), "") << "EACCES: denied";
  EXPECT_NE(trace.find("open", "traced", "state=evicted bytes=0 result=-116"), "") << "ESTALE: evicted";
}

TEST_F(Events, EachIsAuditedWhenAuditingIsOn) {
  if (!(query().features & LLMOS_FEATURE_AUDIT)) GTEST_SKIP() << "no auditing in this kernel";
  AuditLog log;
  live();
  for (const char* op : {"create", "fill", "seal", "open", "map", "revoke", "evict", "remove"})
    EXPECT_NE(log.find({"op=llmos-" + std::string(op) + " ", "model=\"traced\"", "res=1"}), "") << op;
  EXPECT_NE(log.find({"op=llmos-free ", "model=\"dropped\""}), "");
  const std::string denied = log.find({"op=llmos-open ", "model=\"traced\"", "res=0", "errno=13"});
  EXPECT_NE(denied, "");
  EXPECT_NE(denied.find(" uid=1000"), std::string::npos) << "who it was: " << denied;
}

TEST_F(Events, NothingIsAuditedWhenAuditingIsOff) {
  if (!(query().features & LLMOS_FEATURE_AUDIT)) GTEST_SKIP() << "no auditing in this kernel";
  AuditLog log;
  log.enable(false);
  live();
  EXPECT_EQ(log.find({"op=llmos-"}), "");
}

}  // namespace
}  // namespace llmos::guest
