// SPDX-License-Identifier: MIT
// Who may open a model and who may control it: POSIX rules through the VFS, also in namespaces and mounts.
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

using Access = ModuleTest;

int open_errno(const Identity& identity, const std::string& path) {
  return errno_as(identity, [&] { return open(path.c_str(), O_RDONLY); });
}

TEST_F(Access, OwnerGroupAndOthers) {
  const Identity member = {1002, 1002, {500}};
  const struct {
    uint32_t mode;
    bool owner, group, others;
  } cases[] = {{0444, true, true, true},   {0440, true, true, false},  {0400, true, false, false},
               {0004, false, false, true}, {0040, false, true, false}, {0000, false, false, false}};
  for (const auto& each : cases) {
    make_model("model", page, {.mode = each.mode, .uid = 1000, .gid = 500});
    const std::string path = path_of("model");
    EXPECT_EQ(open_errno(alice, path), each.owner ? 0 : EACCES) << std::oct << each.mode;
    EXPECT_EQ(open_errno(member, path), each.group ? 0 : EACCES) << std::oct << each.mode;
    EXPECT_EQ(open_errno(bob, path), each.others ? 0 : EACCES) << std::oct << each.mode;
    EXPECT_EQ(open_errno(root, path), 0) << "CAP_DAC_OVERRIDE";
    EXPECT_OK(model_remove("model"));
  }
}

TEST_F(Access, ReopeningThroughProcNeedsTheRightsAgain) {
  const Fd loader = make_model("model", page, {.mode = 0400, .uid = 1000});
  const std::string path = "/proc/self/fd/" + std::to_string(loader);
  EXPECT_EQ(open_errno(bob, path), EACCES);
  EXPECT_EQ(open_errno(alice, path), 0);
}

// ---- control ----

const std::pair<const char*, int (*)()> controls[] = {
    {"set", [] { return model_set("model", LLMOS_SET_PRIORITY, 0, 1); }},
    {"list",
     [] {
       auto args = sized<llmos_grant_list>();
       args.entry_size = sizeof(llmos_grant);
       strcpy(args.name, "model");
       return command(device(), LLMOS_GRANT_LIST, args);
     }},
    {"revoke", [] { return model_revoke("model", LLMOS_SUBJECT_UID, 4242); }},
    {"evict", [] { return model_evict("model"); }},
    {"remove", [] { return model_remove("model"); }},
};

TEST_F(Access, ControlIsForTheOwnerAndForRoot) {
  device();
  for (const Identity& who : {alice, root}) {
    make_model("model", page, {.mode = 0444, .uid = 1000});
    for (const auto& [name, control] : controls) {
      EXPECT_ERRNO_AS(bob, EPERM, control()) << name;
      EXPECT_ERRNO_AS(who, 0, control()) << name << " by uid " << who.uid;
    }
  }
}

TEST_F(Access, MemberOfTheGroupReadsButDoesNotControl) {
  make_model("model", page, {.mode = 0440, .uid = 1000, .gid = 500});
  const Identity member = {1002, 1002, {500}};
  EXPECT_EQ(open_errno(member, path_of("model")), 0);
  for (const auto& [name, control] : controls) EXPECT_ERRNO_AS(member, EPERM, control()) << name;
}

TEST_F(Access, AttributesAreForEveryoneWhoHasTheDevice) {
  make_model("model", page, {.mode = 0400, .uid = 1000});
  in_child(bob, [] { EXPECT_EQ(stat_of("model").uid, 1000u); });
  EXPECT_ERRNO_AS(bob, 0, access(models_dir.c_str(), R_OK | X_OK));
}

TEST_F(Access, ReplacingNeedsTheRightsOfRemoving) {
  make_model("model", page, {.uid = 1000});
  in_child(bob, [] {
    auto args = create_args("model", page);
    args.flags = LLMOS_CREATE_REPLACE;
    EXPECT_ERRNO(EPERM, model_create(args));
  });
  in_child(alice, [] { make_model("model", 2 * page, {.flags = LLMOS_CREATE_REPLACE}); });
  EXPECT_EQ(stat_of("model").bytes, 2 * page);
}

// ---- user namespaces ----

TEST_F(Access, RootOfAUserNamespaceIsItsOwnerOutside) {
  make_model("alices", page, {.mode = 0400, .uid = 1000, .gid = 1000});
  make_model("bobs", page, {.mode = 0400, .uid = 1001, .gid = 1001});
  in_child([] {
    enter_user_namespace(1000, 1000);
    EXPECT_OK(open_model("alices"));
    EXPECT_ERRNO(EACCES, open_model("bobs"));
    EXPECT_EQ(stat_of("alices").uid, 0u);
    EXPECT_EQ(stat_of("bobs").uid, 65534u) << "has no name here";
    EXPECT_ERRNO(EPERM, model_remove("bobs"));
    EXPECT_OK(model_remove("alices"));
    auto args = create_args("stolen", page);
    args.uid = 5;
    EXPECT_ERRNO(EINVAL, model_create(args)) << "not mapped";
  });
}

TEST_F(Access, NamespaceOfManyUsers) {
  in_child([] {
    enter_user_namespace(100000, 100000, 65536);
    make_model("model", page, {.mode = 0400});
    EXPECT_EQ(stat_of("model").uid, 0u);
    auto args = create_args("other", page);
    args.uid = 7;
    EXPECT_ERRNO(EPERM, model_create(args)) << "CAP_CHOWN counts in the initial namespace only";
  });
  EXPECT_EQ(stat_of("model").uid, 100000u);
  EXPECT_EQ(open_errno({100000, 100000, {}}, path_of("model")), 0);
  EXPECT_EQ(open_errno(alice, path_of("model")), EACCES);
}

TEST_F(Access, UserNamespacesCannotMountTheFilesystem) {
  in_child([] {
    enter_user_namespace(1000, 1000);
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    EXPECT_ERRNO(EPERM, mount("none", "/tmp", "llmos_models", MS_RDONLY, nullptr));
    EXPECT_OK(mount(models_dir.c_str(), "/tmp", nullptr, MS_BIND | MS_REC, nullptr));
  });
}

// ---- mounts ----

void private_mounts() {
  if (unshare(CLONE_NEWNS) || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr)) throw_errno("private mounts");
  if (mount("none", "/tmp", "tmpfs", 0, nullptr)) throw_errno("tmpfs");
  must_write("/proc/self/oom_score_adj", "0");
  must_shell("mkdir /tmp/models && touch /tmp/one");
}

TEST_F(Access, BindMountInAnotherMountNamespace) {
  make_model("model", 2 * huge_page);
  in_child([] {
    private_mounts();
    EXPECT_OK(mount(models_dir.c_str(), "/tmp/models", nullptr, MS_BIND, nullptr));
    EXPECT_OK(umount(models_dir.c_str()));
    const Mapping map(Fd(open("/tmp/models/model", O_RDONLY)), 2 * huge_page);
    EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
    EXPECT_EQ(smaps(map.data(), "FilePmdMapped"), 2 * huge_page);
    make_model("second", page);
    EXPECT_OK(Fd(open("/tmp/models/second", O_RDONLY))) << "the mount is of the folder, and follows it";
  });
}

TEST_F(Access, OneModelBoundIntoAContainer) {
  make_model("model", 5000);
  in_child([] {
    private_mounts();
    EXPECT_OK(mount(path_of("model").c_str(), "/tmp/one", nullptr, MS_BIND, nullptr));
    EXPECT_EQ(pattern_differs_in(Fd(open("/tmp/one", O_RDONLY)), 5000), std::nullopt);
    EXPECT_ERRNO(EROFS, Fd(open("/tmp/one", O_RDWR)));
    EXPECT_OK(umount("/tmp/one"));
  });
}

TEST_F(Access, SecondMountShowsTheSameModels) {
  make_model("model", 5000);
  in_child([] {
    private_mounts();
    EXPECT_OK(mount("none", "/tmp/models", "llmos_models", 0, nullptr));
    struct stat here, there;
    ASSERT_EQ(stat("/tmp/models/model", &here), 0);
    ASSERT_EQ(stat(path_of("model").c_str(), &there), 0);
    EXPECT_EQ(here.st_ino, there.st_ino);
    EXPECT_EQ(here.st_dev, there.st_dev);
    EXPECT_OK(model_remove("model"));
    EXPECT_ERRNO(ENOENT, stat("/tmp/models/model", &here));
  });
}

TEST_F(Access, IdMappedMountShowsOtherOwners) {
  make_model("model", page, {.mode = 0400, .uid = 1000, .gid = 1000});
  in_child([] {
    private_mounts();
    Child map([](Child::Parent& parent) {  // alice there is root of the container here
      enter_user_namespace(1001, 1001, 2000);
      parent.tell();
      parent.wait();
    });
    map.wait();
    const Fd ns(open(("/proc/" + std::to_string(map.pid()) + "/ns/user").c_str(), O_RDONLY));
    const Fd tree(static_cast<int>(syscall(SYS_open_tree, AT_FDCWD, models_dir.c_str(), OPEN_TREE_CLONE)));
    ASSERT_GE(tree, 0);
    mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = static_cast<uint64_t>(static_cast<int>(ns))};
    ASSERT_EQ(syscall(SYS_mount_setattr, static_cast<int>(tree), "", AT_EMPTY_PATH, &attr, sizeof(attr)), 0)
        << error_name(errno);
    ASSERT_EQ(syscall(SYS_move_mount, static_cast<int>(tree), "", AT_FDCWD, "/tmp/models", MOVE_MOUNT_F_EMPTY_PATH), 0);
    struct stat stat;
    ASSERT_EQ(::stat("/tmp/models/model", &stat), 0);
    EXPECT_EQ(stat.st_uid, 2001u);
    EXPECT_EQ(open_errno({2001, 2001, {}}, "/tmp/models/model"), 0);
    EXPECT_EQ(open_errno(alice, "/tmp/models/model"), EACCES);
    EXPECT_EQ(open_errno(alice, path_of("model")), 0);
    map.tell();
    map.join();
  });
}

TEST_F(Access, LowerLayerOfAnOverlay) {
  make_model("model", 5000);
  shell("modprobe overlay");
  if (read_file("/proc/filesystems").find("overlay") == std::string::npos) GTEST_SKIP() << "no overlay filesystem here";
  in_child([] {
    private_mounts();
    must_shell("mkdir /tmp/upper /tmp/work");
    const std::string options = "lowerdir=" + models_dir + ",upperdir=/tmp/upper,workdir=/tmp/work";
    ASSERT_EQ(mount("none", "/tmp/models", "overlay", 0, options.c_str()), 0) << error_name(errno);
    EXPECT_EQ(must_shell("ls /tmp/models"), "model");
    for (int i = 0; i < 3; i++) {
      const Fd fd(open("/tmp/models/model", O_RDONLY));
      ASSERT_GE(fd, 0) << error_name(errno);
      EXPECT_EQ(pattern_differs_in(fd, 5000), std::nullopt);
    }
    EXPECT_OK(umount("/tmp/models"));
  });
  EXPECT_EQ(pattern_differs_in(open_model("model"), 5000), std::nullopt);
}

// ---- the deny list ----

TEST_F(Access, DeniedUserCannotOpenUntilAllowedAgain) {
  make_model("model", page);
  revoke("model", LLMOS_SUBJECT_UID, 1000);
  EXPECT_EQ(open_errno(alice, path_of("model")), EACCES);
  EXPECT_EQ(open_errno(bob, path_of("model")), 0);
  EXPECT_EQ(open_errno(root, path_of("model")), 0);
  EXPECT_ERRNO(ENOENT, model_revoke("model", LLMOS_SUBJECT_UID, 1001, LLMOS_REVOKE_ALLOW));
  EXPECT_OK(model_revoke("model", LLMOS_SUBJECT_UID, 1000, LLMOS_REVOKE_ALLOW));
  EXPECT_EQ(open_errno(alice, path_of("model")), 0);
  EXPECT_ERRNO(ENOENT, model_revoke("model", LLMOS_SUBJECT_UID, 1000, LLMOS_REVOKE_ALLOW));
}

TEST_F(Access, DenyingRootDeniesRoot) {
  const Fd loader = make_model("model", page);
  revoke("model", LLMOS_SUBJECT_UID, 0);
  EXPECT_ERRNO(EACCES, open_model("model"));
  EXPECT_OK(model_revoke("model", LLMOS_SUBJECT_UID, 0, LLMOS_REVOKE_ALLOW));
  EXPECT_OK(open_model("model"));
}

TEST_F(Access, DeniedProcessCannotOpenButOthersOfItsUserCan) {
  make_model("model", page);
  Child child([](Child::Parent& parent) {
    parent.tell();
    parent.wait();
    EXPECT_ERRNO(EACCES, open_model("model"));
    in_child([] { EXPECT_OK(open_model("model")) << "another process"; });
  });
  child.wait();
  revoke("model", LLMOS_SUBJECT_PID, child.pid());
  child.tell();
  child.join();
}

TEST_F(Access, DeniedCgroupAndAllBelowIt) {
  make_model("model", page);
  const Cgroup outer("llmos-denied"), inner("inner", outer.path()), other("llmos-other");
  revoke("model", LLMOS_SUBJECT_CGROUP, outer.open());
  const auto opens_in = [](const Cgroup& group) {
    return errno_as(root, [&]() -> int64_t {
      group.enter();
      return open_model("model").release();
    });
  };
  EXPECT_EQ(opens_in(outer), EACCES);
  EXPECT_EQ(opens_in(inner), EACCES);
  EXPECT_EQ(opens_in(other), 0);
  EXPECT_OK(model_revoke("model", LLMOS_SUBJECT_CGROUP, outer.open(), LLMOS_REVOKE_ALLOW));
  EXPECT_EQ(opens_in(inner), 0);
}

TEST_F(Access, DenyListHasAnEnd) {
  make_model("model", page);
  int error = 0;
  uint32_t uid = 10000;
  for (; !error && uid < 20000; uid++) error = errno_of([&] { return model_revoke("model", LLMOS_SUBJECT_UID, uid); });
  EXPECT_EQ(error_name(error), "ENOSPC");
  EXPECT_GE(uid, 10000u + 1000) << "a thousand subjects should have room";
  EXPECT_OK(model_revoke("model", LLMOS_SUBJECT_UID, 10000)) << "who is on it already takes no more room";
  EXPECT_OK(model_revoke("model", LLMOS_SUBJECT_UID, 10000, LLMOS_REVOKE_ALLOW));
  EXPECT_OK(model_revoke("model", LLMOS_SUBJECT_UID, 30000));
}

}  // namespace
}  // namespace llmos::guest
