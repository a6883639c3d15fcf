// SPDX-License-Identifier: MIT
#include "process.hpp"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cstdio>
#include <exception>
#include <string>
#include <system_error>

#include "system.hpp"

namespace llmos::guest {

void become(const Identity& identity) {
  if (identity.uid == 0 && identity.gid == 0 && identity.groups.empty()) return;
  if (setgroups(identity.groups.size(), identity.groups.data())) throw_errno("setgroups");
  if (setresgid(identity.gid, identity.gid, identity.gid)) throw_errno("setresgid");
  if (setresuid(identity.uid, identity.uid, identity.uid)) throw_errno("setresuid");
}

static void send(int fd, int64_t value) {
  if (::write(fd, &value, sizeof(value)) != sizeof(value)) throw_errno("telling the other process");
}

static int64_t receive(int fd) {
  int64_t value;
  const ssize_t n = ::read(fd, &value, sizeof(value));
  if (n == 0) errno = ECHILD;
  if (n != sizeof(value)) throw_errno("waiting for the other process");
  return value;
}

void Child::Parent::tell(int64_t value) { send(out_, value); }
int64_t Child::Parent::wait() { return receive(in_); }
int64_t Child::wait() { return receive(in_); }
void Child::tell(int64_t value) { send(out_, value); }

// The child inherits what failed in the parent.
static int failures() {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  if (!test) return 0;  // a benchmark
  const auto& result = *test->result();
  int count = 0;
  for (int i = 0; i < result.total_part_count(); i++) count += result.GetTestPartResult(i).failed();
  return count;
}

static bool run_body(const Identity& identity, Child::Parent& parent, const std::function<void(Child::Parent&)>& body) {
  const int before = failures();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    become(identity);
    body(parent);
    return failures() == before;
  } catch (const std::exception& error) {
    printf("in a child: %s\n", error.what());
    return false;
  }
}

Child::Child(const Identity& identity, const std::function<void(Parent&)>& body) {
  int down[2], up[2];
  if (pipe2(down, O_CLOEXEC) || pipe2(up, O_CLOEXEC)) throw_errno("pipe");
  fflush(nullptr);
  pid_ = fork();
  if (pid_ < 0) throw_errno("fork");
  if (pid_ == 0) {
    close(down[1]);
    close(up[0]);
    Parent parent;
    parent.in_ = down[0];
    parent.out_ = up[1];
    const bool good = run_body(identity, parent, body);
    fflush(nullptr);
    _exit(good ? 0 : 1);
  }
  close(down[0]);
  close(up[1]);
  in_ = up[0];
  out_ = down[1];
}

void Child::reap() {
  if (pid_ > 0) waitpid(pid_, &status_, 0);
  pid_ = -1;
}

Child::~Child() {
  kill();
  close(in_);
  close(out_);
}

int Child::wait_status() {
  reap();
  return status_;
}

void Child::join() {
  if (wait_status() == 0) return;
  ADD_FAILURE() << "the child " << (WIFSIGNALED(status_) ? strsignal(WTERMSIG(status_)) : "failed");
}

int Child::kill() {
  if (pid_ > 0) ::kill(pid_, SIGKILL);
  reap();
  return status_;
}

int errno_as(const Identity& identity, const std::function<int64_t()>& call) {
  Child child(identity, [&](Child::Parent& parent) {
    errno = 0;
    parent.tell(call() == -1 ? errno : 0);
  });
  const int error = static_cast<int>(child.wait());
  child.join();
  return error;
}

void in_child(const Identity& identity, const std::function<void()>& body) {
  Child(identity, [&](Child::Parent&) { body(); }).join();
}

void enter_user_namespace(uid_t uid, gid_t gid, uint32_t count) {
  const auto map = [count](uint32_t id) { return "0 " + std::to_string(id) + " " + std::to_string(count); };
  char self_pid[16] = {};  // in the namespace of /proc, which need not be ours
  if (readlink("/proc/self", self_pid, sizeof(self_pid) - 1) < 0) throw_errno("/proc/self");
  const std::string self = "/proc/" + std::string(self_pid);
  // The maps must be written from outside, by root there.
  Child outside([&](Child::Parent& parent) {
    parent.wait();
    must_write(self + "/uid_map", map(uid));
    must_write(self + "/gid_map", map(gid));
    parent.tell();
  });
  if (unshare(CLONE_NEWUSER)) throw_errno("unshare(CLONE_NEWUSER)");
  outside.tell();
  outside.wait();
  outside.join();
  if (setgroups(0, nullptr) || setresgid(0, 0, 0) || setresuid(0, 0, 0)) throw_errno("root of a user namespace");
}

}  // namespace llmos::guest
