// SPDX-License-Identifier: MIT
// llmosctl audit: every decision of the hooks, one line each, as it is made.
#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <ctime>
#include <map>
#include <memory>

#include "audit_record.hpp"
#include "audit_stream.hpp"
#include "cgroups.hpp"
#include "cli.hpp"
#include "policies.hpp"

namespace llmosctl {
namespace {

using llmos::Error;

struct AuditOptions {
  std::vector<std::string> hooks;
  uint64_t count = UINT64_MAX;
};

// What ends us, as something to be polled: signals, and a reader of our output who went away.
class End {
 public:
  End() {
    sigset_t ends;
    sigemptyset(&ends);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&ends, signal);
    ::sigprocmask(SIG_BLOCK, &ends, nullptr);
    fd_ = ::signalfd(-1, &ends, SFD_CLOEXEC);
  }
  End(const End&) = delete;
  End& operator=(const End&) = delete;
  ~End() { ::close(fd_); }

  // Waits for it or for `other` to be readable, a second at most; true when it is the end.
  bool comes_before(int other) const {
    pollfd events[] = {{fd_, POLLIN, 0}, {other, POLLIN, 0}, {STDOUT_FILENO, 0, 0}};
    if (::poll(events, 3, 1000) <= 0) return false;
    if (events[2].revents & POLLERR) ::raise(SIGPIPE);  // as the next write would
    return events[0].revents != 0;
  }

 private:
  int fd_ = -1;
};

// Cgroups by name, also those that come after the start; each is looked for once.
class GroupNames {
 public:
  const std::string& name(uint64_t id) {
    const auto [entry, is_new] = names_.try_emplace(id);
    if (is_new && id) entry->second = Cgroups().name(id);
    return entry->second;
  }

 private:
  std::map<uint64_t, std::string> names_;
};

uint64_t now_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

class Printer {
 public:
  explicit Printer(bool json) : json_(json) {}

  void print(const std::vector<llmos_audit_record>& records) {
    const uint64_t epoch_ns = now_ns(CLOCK_REALTIME) - now_ns(CLOCK_MONOTONIC);
    for (const llmos_audit_record& record : records) {
      const auto decision = decision_json(record, groups_.name(record.group), epoch_ns);
      put(json_ ? dump(decision) : decision_line(decision));
    }
    flush_output();
  }

  // `lost` in all; what is new of it is told.
  void print_lost(uint64_t lost) {
    if (lost == lost_) return;
    if (json_)
      put(dump({{"time_ns", now_ns(CLOCK_REALTIME)}, {"lost", lost - lost_}}));
    else
      complain(fmt::format("{} decisions were not recorded: they came faster than they were read", lost - lost_));
    lost_ = lost;
    flush_output();
  }

 private:
  static std::string dump(const nlohmann::ordered_json& json) {
    return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  }
  static void put(const std::string& line) { fmt::print("{}\n", line); }

  const bool json_;
  GroupNames groups_;
  uint64_t lost_ = 0;
};

// An operator's own, with readers and knobs of its own: each decision would be recorded twice.
void refuse_second() {
  std::error_code error;
  if (std::filesystem::exists(kPins / "audit", error))
    throw Error(EBUSY, fmt::format("the policy \"audit\" is attached already ({}), and its records are for whoever did "
                                   "that; \"llmosctl policy detach audit\" detaches it",
                                   (kPins / "audit").native()));
}

void watch(const Globals& globals, const AuditOptions& options) {
  require_policies();
  refuse_second();
  std::set<std::string> hooks(options.hooks.begin(), options.hooks.end());
  if (hooks.empty())
    for (const AuditHook& hook : audit_hooks()) hooks.insert(hook.name);
  const End end;
  AuditStream stream(policy_object("audit"), hooks);
  Printer printer(globals.json);
  uint64_t left = options.count;
  for (bool ends = false; !ends && left;) {
    ends = end.comes_before(stream.fd());
    if (ends) stream.detach();
    const auto records = stream.read(left);
    printer.print(records);
    printer.print_lost(stream.lost());
    left -= records.size();
  }
}

}  // namespace

void add_audit(CLI::App& app, Globals& globals) {
  auto options = std::make_shared<AuditOptions>();
  std::vector<std::string> names;
  for (const AuditHook& hook : audit_hooks()) names.emplace_back(hook.name);
  CLI::App* command = app.add_subcommand("audit", "Show the decisions of policies as they are made");
  command->add_option("--hook", options->hooks, "Only those of this hook; may be repeated")
      ->check(CLI::IsMember(names));
  command->add_option("--count", options->count, "End after so many")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000'000'000}));
  command->callback([=, &globals] { watch(globals, *options); });
}

}  // namespace llmosctl
