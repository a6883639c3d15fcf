// SPDX-License-Identifier: MIT
// Who has a model open: one grant for each open, told with its process, user, cgroup, time and mapped bytes.
#include <fcntl.h>
#include <sys/resource.h>
#include <sched.h>
#include <sys/socket.h>
#include <time.h>

#include <cstring>
#include <memory>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

using Grants = ModuleTest;

uint64_t realtime_ns() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

uint64_t mapped(const std::string& name) {
  uint64_t bytes = 0;
  for (const auto& grant : grants_of(name)) bytes += grant.mapped;
  return bytes;
}

TEST_F(Grants, TellWhoOpenedItAndWhen) {
  const Cgroup group("llmos-users");
  Fd loader = make_model("model", page);
  ASSERT_EQ(grants_of("model").size(), 1u);
  EXPECT_EQ(grants_of("model")[0].flags, uint32_t{LLMOS_GRANT_LOADER});
  EXPECT_EQ(grants_of("model")[0].pid, static_cast<uint32_t>(getpid()));
  loader.close();
  EXPECT_TRUE(grants_of("model").empty());

  Child user([&](Child::Parent& parent) {
    group.enter();
    become(alice);
    const uint64_t before = realtime_ns();
    const Fd fd = open_model("model");
    parent.tell(static_cast<int64_t>(before));
    parent.tell(static_cast<int64_t>(realtime_ns()));
    parent.wait();
  });
  const auto before = static_cast<uint64_t>(user.wait()), after = static_cast<uint64_t>(user.wait());
  const auto grants = grants_of("model");
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_EQ(grants[0].pid, static_cast<uint32_t>(user.pid()));
  EXPECT_EQ(grants[0].uid, 1000u);
  EXPECT_EQ(grants[0].cgroup, group.id());
  EXPECT_GE(grants[0].opened_ns, before);
  EXPECT_LE(grants[0].opened_ns, after);
  EXPECT_EQ(grants[0].flags, 0u);
  EXPECT_EQ(grants[0].mapped, 0u);
  EXPECT_EQ(stat_of("model").grants, 1u);
  user.tell();
  user.join();
  EXPECT_TRUE(grants_of("model").empty());
}

TEST_F(Grants, OneForEachOpenAndTheirNumbersAscend) {
  make_model("model", page);
  std::vector<Fd> fds;
  for (int i = 0; i < 10; i++) fds.push_back(open_model("model"));
  const Fd copy(dup(fds[0]));
  const auto grants = grants_of("model");
  EXPECT_EQ(grants.size(), 10u) << "a duplicate is the same open";
  for (size_t i = 1; i < grants.size(); i++) EXPECT_GT(grants[i].id, grants[i - 1].id);
  fds.erase(fds.begin() + 3);
  EXPECT_EQ(grants_of("model").size(), 9u);
}

// More than the module visits in one go.
TEST_F(Grants, ThousandsAreListedSharedAndRevoked) {
  constexpr size_t opens = 2500;
  const Cgroup one("llmos-one"), other("llmos-other");
  make_model("model", huge_page);
  std::vector<std::unique_ptr<Child>> children;
  while (children.size() < 2)
    children.push_back(std::make_unique<Child>(alice, [&](Child::Parent& parent) {
      parent.wait();
      std::vector<Fd> fds;
      rlimit files;
      ASSERT_OK(getrlimit(RLIMIT_NOFILE, &files));
      files.rlim_cur = files.rlim_max;
      ASSERT_OK(setrlimit(RLIMIT_NOFILE, &files));
      for (size_t i = 0; i < opens; i++) fds.push_back(open_model("model"));
      parent.tell();
      parent.wait();
      char byte;
      for (const Fd& fd : fds) ASSERT_ERRNO(ESTALE, pread(fd, &byte, 1, 0));
    }));
  must_write(one.path() + "/cgroup.procs", std::to_string(children[0]->pid()));
  must_write(other.path() + "/cgroup.procs", std::to_string(children[1]->pid()));
  for (auto& child : children) child->tell(), child->wait();

  const auto grants = grants_of("model");
  ASSERT_EQ(grants.size(), 2 * opens);
  for (size_t i = 1; i < grants.size(); i++) ASSERT_GT(grants[i].id, grants[i - 1].id);
  EXPECT_EQ(stat_of("model").grants, 2 * opens);
  EXPECT_EQ(revoke("model", LLMOS_SUBJECT_CGROUP, one.open(), LLMOS_REVOKE_KEEP_ACCESS), opens);
  EXPECT_EQ(stat_of("model").grants, opens);
  EXPECT_EQ(revoke("model", LLMOS_SUBJECT_UID, alice.uid), opens);
  EXPECT_EQ(stat_of("model").grants, 0u);
  EXPECT_EQ(grants_of("model").size(), 2 * opens) << "until they are closed";
  for (auto& child : children) child->tell(), child->join();
  EXPECT_TRUE(grants_of("model").empty());
}

TEST_F(Grants, MappedBytesFollowTheMappings) {
  const uint64_t bytes = 4 * huge_page;
  make_model("model", bytes);
  const Fd fd = open_model("model");
  Mapping map(fd, bytes);
  EXPECT_EQ(mapped("model"), bytes);
  const Mapping second(fd, huge_page, PROT_READ | PROT_WRITE, MAP_PRIVATE, huge_page);
  EXPECT_EQ(mapped("model"), bytes + huge_page);
  ASSERT_EQ(munmap(map.data(), 3 * page), 0);
  EXPECT_EQ(mapped("model"), bytes + huge_page - 3 * page);
  ASSERT_EQ(munmap(map.data() + huge_page, huge_page), 0) << "a hole";
  EXPECT_EQ(mapped("model"), bytes - 3 * page);
  void* moved = mremap(map.data() + 2 * huge_page, 2 * huge_page, huge_page, MREMAP_MAYMOVE);
  ASSERT_NE(moved, MAP_FAILED);
  EXPECT_EQ(mapped("model"), bytes - huge_page - 3 * page) << "shrunk by mremap";
  map.unmap();
  EXPECT_EQ(mapped("model"), huge_page);
}

TEST_F(Grants, ChildrenOfAForkCountToo) {
  const uint64_t bytes = huge_page;
  make_model("model", bytes);
  const Mapping map(open_model("model"), bytes);
  Child child([&](Child::Parent& parent) {
    parent.tell();
    parent.wait();
  });
  child.wait();
  EXPECT_EQ(grants_of("model").size(), 1u) << "a fork is no open";
  EXPECT_EQ(mapped("model"), 2 * bytes);
  child.tell();
  child.join();
  EXPECT_EQ(mapped("model"), bytes);
}

TEST_F(Grants, MappingKeepsTheGrantOfAClosedDescriptor) {
  make_model("model", page);
  Mapping map(open_model("model"), page);
  ASSERT_EQ(grants_of("model").size(), 1u);
  EXPECT_EQ(stat_of("model").grants, 1u);
  EXPECT_EQ(stat_of("model").idle_ns, 0u);
  map.unmap();
  EXPECT_TRUE(grants_of("model").empty());
  EXPECT_GT(stat_of("model").idle_ns, 0u);
}

TEST_F(Grants, BelongToWhoOpenedEvenWhenPassedOn) {
  make_model("model", page);
  int sockets[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets), 0);
  const Fd ours(sockets[0]), theirs(sockets[1]);
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  char byte = 0;
  iovec vector = {&byte, 1};
  msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
  Child sender(alice, [&](Child::Parent&) {
    const Fd fd = open_model("model");
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    const int number = fd;
    memcpy(CMSG_DATA(head), &number, sizeof(number));
    EXPECT_EQ(sendmsg(theirs, &message, 0), 1);
  });
  const pid_t pid = sender.pid();
  sender.join();
  ASSERT_EQ(grants_of("model").size(), 1u) << "in flight";
  ASSERT_EQ(recvmsg(ours, &message, MSG_CMSG_CLOEXEC), 1);
  int number;
  memcpy(&number, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(number));
  const Fd received(number);
  const auto grants = grants_of("model");
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_EQ(grants[0].uid, 1000u);
  EXPECT_TRUE(grants[0].pid == static_cast<uint32_t>(pid) || grants[0].pid == 0);
}

TEST_F(Grants, RevokedOnesAreListedUntilTheyAreClosed) {
  Fd loader = make_model("model", page);
  loader.close();
  const Fd fd = open_model("model");
  EXPECT_EQ(revoke("model", LLMOS_SUBJECT_PID, getpid(), LLMOS_REVOKE_KEEP_ACCESS), 1u);
  const auto grants = grants_of("model");
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_EQ(grants[0].flags, uint32_t{LLMOS_GRANT_REVOKED});
  EXPECT_EQ(stat_of("model").grants, 0u);
}

TEST_F(Grants, LongListsComeInParts) {
  make_model("model", page);
  constexpr size_t opens = 200;
  std::vector<Fd> fds;
  for (size_t i = 0; i < opens; i++) fds.push_back(open_model("model"));
  EXPECT_EQ(grants_of("model").size(), opens);

  std::vector<llmos_grant> part(opens);
  auto args = sized<llmos_grant_list>();
  strcpy(args.name, "model");
  args.grants = reinterpret_cast<uint64_t>(part.data());
  args.entry_size = sizeof(llmos_grant);
  std::set<uint64_t> ids;
  for (const uint32_t count : {7u, 64u, 65u, 1u, 200u}) {
    args.count = count;
    ASSERT_EQ(command(device(), LLMOS_GRANT_LIST, args), 0);
    EXPECT_LE(args.count, count);
    for (uint32_t i = 0; i < args.count; i++) EXPECT_TRUE(ids.insert(part[i].id).second);
    args.after = *ids.rbegin();
  }
  EXPECT_EQ(ids.size(), opens);
  args.count = 5;
  EXPECT_OK(command(device(), LLMOS_GRANT_LIST, args));
  EXPECT_EQ(args.count, 0u);

  args.after = 0;
  args.count = 0;
  args.grants = 0;
  EXPECT_OK(command(device(), LLMOS_GRANT_LIST, args)) << "no entries wanted, none written";
  args.count = 10;
  EXPECT_ERRNO(EFAULT, command(device(), LLMOS_GRANT_LIST, args));
  EXPECT_EQ(args.count, 10u);
}

TEST_F(Grants, NumbersAreThoseOfTheCallersNamespaces) {
  make_model("model", page, {.uid = 100000});
  Child outer([](Child::Parent& parent) {  // its children are in a pid namespace of their own
    ASSERT_EQ(unshare(CLONE_NEWPID), 0);
    in_child([&] {
      enter_user_namespace(100000, 100000, 10);
      const Fd fd = open_model("model");
      ASSERT_EQ(getpid(), 1);
      parent.tell();
      parent.wait();
      for (const auto& grant : grants_of("model")) {
        const bool mine = grant.pid == 1;
        EXPECT_EQ(grant.pid, mine ? 1u : 0u) << "processes of the outside have no number here";
        EXPECT_EQ(grant.uid, mine ? 0u : 65534u);
      }
      EXPECT_EQ(grants_of("model").size(), 2u);
    });
  });
  outer.wait();
  const Fd mine = open_model("model");
  std::set<uint32_t> uids;
  for (const auto& grant : grants_of("model")) {
    uids.insert(grant.uid);
    EXPECT_GT(grant.pid, 1u) << "seen from outside everybody has a number";
  }
  EXPECT_EQ(uids, (std::set<uint32_t>{0, 100000}));
  outer.tell();
  outer.join();
}

}  // namespace
}  // namespace llmos::guest
