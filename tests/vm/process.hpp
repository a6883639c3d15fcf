// SPDX-License-Identifier: MIT
// Code that runs as another process, user or in other namespaces, in step with the test.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "guest.hpp"

namespace llmos::guest {

// Who the child is to be. Its capabilities go with uid 0.
struct Identity {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups = {};
};
inline const Identity root = {}, alice = {1000, 1000, {}}, bob = {1001, 1001, {}};

// A forked child that runs `body`. Expectations work in it as in a test: what fails there is printed, and fails
// join(). Its life ends with the test's at the latest.
class Child {
 public:
  // The child's end of the conversation.
  class Parent {
   public:
    void tell(int64_t value = 0);  // wakes the parent's ask()
    int64_t wait();                // for the parent's tell()

   private:
    friend class Child;
    int in_ = -1, out_ = -1;
  };

  explicit Child(const std::function<void(Parent&)>& body) : Child(Identity{}, body) {}
  Child(const Identity& identity, const std::function<void(Parent&)>& body);
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child();  // kills what was not joined

  pid_t pid() const { return pid_; }
  int64_t wait();                // for the child's tell(); throws when it died before
  void tell(int64_t value = 0);  // wakes the child's wait()
  void join();                   // expects that it ended well
  int kill();                    // with SIGKILL; returns its wait status
  int wait_status();             // of its end, whatever it is

 private:
  void reap();
  pid_t pid_ = -1;
  int in_ = -1, out_ = -1;
  int status_ = 0;
};

// Runs `call` in a child of that identity; returns 0 or the errno it failed with.
int errno_as(const Identity& identity, const std::function<int64_t()>& call);
// EXPECT_ERRNO_AS(alice, EACCES, open(...))
#define EXPECT_ERRNO_AS(identity, expected, ...)            \
  EXPECT_PRED_FORMAT2(::llmos::guest::same_error, expected, \
                      ::llmos::guest::errno_as(identity, [&]() -> int64_t { return __VA_ARGS__; }))

// Runs `body` in a child of that identity, to its end.
void in_child(const Identity& identity, const std::function<void()>& body);
inline void in_child(const std::function<void()>& body) { in_child(root, body); }

void become(const Identity& identity);
// Enters a new user namespace in which `uid`/`gid` of the outside are 0. Call in a child that is root outside.
void enter_user_namespace(uid_t uid, gid_t gid, uint32_t count = 1);

}  // namespace llmos::guest
