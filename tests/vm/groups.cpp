// SPDX-License-Identifier: MIT
// The tree of groups: that of cgroups, with control files that follow cgroup v2's rules of who may write them.
#include <fcntl.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <set>
#include <thread>

#include "groups.hpp"
#include "process.hpp"

namespace llmos::guest {
namespace {

using Groups = GroupTest;

const std::set<std::string> root_files = {"memory.current", "memory.peak", "models.current", "time.stat"};
const std::set<std::string> all_files = {"memory.current", "memory.events",  "memory.low", "memory.max",  "memory.peak",
                                         "models.current", "time.max", "time.stat",  "time.weight"};

std::set<std::string> list(const std::string& path, bool directories) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path))
    if (entry.is_directory() == directories) names.insert(entry.path().filename());
  return names;
}

std::string dir(const Cgroup& group) { return control(group, "."); }

TEST_F(Groups, TreeIsThatOfCgroups) {
  EXPECT_EQ(list(groups_dir, true), list("/sys/fs/cgroup", true));
  const Cgroup outer("llmos-outer");
  EXPECT_TRUE(list(groups_dir, true).contains("llmos-outer"));
  EXPECT_TRUE(list(dir(outer), true).empty());
  {
    const Cgroup one("one", outer.path()), two("two", outer.path()), below("below", one.path());
    EXPECT_EQ(list(dir(outer), true), (std::set<std::string>{"one", "two"}));
    EXPECT_EQ(list(dir(one), true), (std::set<std::string>{"below"}));
    EXPECT_TRUE(exists(control(below, "memory.max")));
  }
  EXPECT_TRUE(list(dir(outer), true).empty());
  EXPECT_FALSE(exists(groups_dir + "/llmos-outer/one/memory.max"));
  EXPECT_FALSE(exists(groups_dir + "/cgroup.procs")) << "cgroup2's own files are not shown";
}

TEST_F(Groups, FilesAreThoseOfAGroupAndTheRootHasNoLimits) {
  const Cgroup group("llmos-group");
  EXPECT_EQ(list(dir(group), false), all_files);
  EXPECT_EQ(list(groups_dir, false), root_files);
  EXPECT_ERRNO(ENOENT, open((groups_dir + "/memory.max").c_str(), O_RDONLY));
}

TEST_F(Groups, ManyGroupsAreAllListed) {
  const Cgroup outer("llmos-many");
  std::vector<std::unique_ptr<Cgroup>> groups;
  for (int i = 0; i < 300; i++)
    groups.push_back(std::make_unique<Cgroup>("a-rather-long-name-" + std::to_string(i), outer.path()));
  EXPECT_EQ(list(dir(outer), true).size(), 300u);
}

TEST_F(Groups, NothingIsMadeOrRemovedThere) {
  const Cgroup group("llmos-group");
  const std::string path = dir(group);
  EXPECT_ERRNO(EACCES, mkdir((path + "/new").c_str(), 0755));
  EXPECT_NE(errno_of([&] { return open((path + "/new").c_str(), O_CREAT | O_WRONLY, 0644); }), 0);
  EXPECT_NE(errno_of([&] { return unlink((path + "/memory.max").c_str()); }), 0);
  EXPECT_NE(errno_of([&] { return rmdir(control(group, "").c_str()); }), 0);
  EXPECT_ERRNO(EPERM, chmod(control(group, "memory.max").c_str(), 0666));
  EXPECT_ERRNO(EPERM, chown(control(group, "memory.max").c_str(), 1000, 1000));
  EXPECT_ERRNO(EACCES, open(control(group, "memory.current").c_str(), O_WRONLY));
}

TEST_F(Groups, DefaultsBeforeAnyUse) {
  const SimulatedDevice device("sim0");
  const Cgroup group("llmos-group");
  EXPECT_EQ(line_of(control(group, "memory.max"), "sim0"), "max");
  EXPECT_EQ(line_of(control(group, "memory.max"), "cpu"), "max");
  EXPECT_EQ(line_of(control(group, "memory.low"), "sim0"), "0");
  EXPECT_EQ(line_of(control(group, "memory.current"), "sim0"), "0");
  EXPECT_EQ(line_of(control(group, "memory.peak"), "sim0"), "0");
  EXPECT_EQ(line_of(control(group, "memory.events"), "sim0"), "low=0 max=0");
  EXPECT_EQ(read_file(control(group, "time.weight")), "default 100\n");
  EXPECT_EQ(line_of(control(group, "time.max"), "sim0"), "max 100000");
  EXPECT_TRUE(line_of(control(group, "time.stat"), "sim0").starts_with("usage_usec=0 "));
}

TEST_F(Groups, MemoryLimitsAreLinesAsInDmemMax) {
  const SimulatedDevice one("sim0"), two("sim1");
  const Cgroup group("llmos-group");
  for (const std::string file : {"memory.max", "memory.low"}) {
    const std::string path = control(group, file);
    must_write(path, "sim0 4096");
    EXPECT_EQ(line_of(path, "sim0"), "4096");
    must_write(path, "sim0 2G\nsim1 1M\n");
    EXPECT_EQ(bytes_of(path, "sim0"), 2048 * MiB);
    EXPECT_EQ(bytes_of(path, "sim1"), MiB);
    must_write(path, "  sim0   max  ");
    EXPECT_EQ(line_of(path, "sim0"), "max");
    EXPECT_EQ(shell("echo 'sim0 7' > " + path).status, 0) << "as a shell writes it";
    EXPECT_EQ(line_of(path, "sim0"), "7");
    for (const char* bad : {"\n", " ", "sim0", "4096", "sim0 x", "sim0 1 2", "sim0 -1", "sim0 99999999999999999999"})
      EXPECT_ERRNO(EINVAL, write_file(path, bad)) << bad;
    EXPECT_ERRNO(EINVAL, write_file(path, std::string("sim0 9\0", 7)));
    EXPECT_ERRNO(ENODEV, write_file(path, "nothing 1"));
    EXPECT_ERRNO(E2BIG, write_file(path, std::string(5000, ' ')));
    EXPECT_EQ(line_of(path, "sim0"), "7") << "as it was";
  }
}

TEST_F(Groups, WeightsAreLinesAsInIoWeight) {
  const SimulatedDevice device("sim0");
  const Cgroup group("llmos-group");
  const std::string path = control(group, "time.weight");
  must_write(path, "300");
  EXPECT_EQ(read_file(path), "default 300\n");
  must_write(path, "default 400");
  must_write(path, "sim0 10000");
  EXPECT_EQ(read_file(path), "default 400\nsim0 10000\n");
  must_write(path, "sim0 default");
  EXPECT_EQ(read_file(path), "default 400\n");
  for (const char* bad : {"x", "sim0 x", "sim0 1 2", "default", "default default", ""})
    EXPECT_ERRNO(EINVAL, write_file(path, bad)) << bad;
  for (const char* bad : {"0", "10001", "sim0 0", "sim0 10001"}) EXPECT_ERRNO(ERANGE, write_file(path, bad)) << bad;
  EXPECT_EQ(read_file(path), "default 400\n");
}

TEST_F(Groups, TimeMaxIsAsCpuMax) {
  const SimulatedDevice device("sim0");
  const Cgroup group("llmos-group");
  const std::string path = control(group, "time.max");
  must_write(path, "sim0 50000 200000");
  EXPECT_EQ(line_of(path, "sim0"), "50000 200000");
  must_write(path, "sim0 25000");
  EXPECT_EQ(line_of(path, "sim0"), "25000 200000") << "the period stays";
  must_write(path, "sim0 max");
  EXPECT_EQ(line_of(path, "sim0"), "max 200000");
  for (const char* bad : {"sim0", "sim0 x", "sim0 1000 x", "sim0 1000 1000 1"})
    EXPECT_ERRNO(EINVAL, write_file(path, bad)) << bad;
  for (const char* bad : {"sim0 999", "sim0 5000 999", "sim0 5000 1000001"})
    EXPECT_ERRNO(ERANGE, write_file(path, bad)) << bad;
  EXPECT_EQ(line_of(path, "sim0"), "max 200000");
}

TEST_F(Groups, NewCgroupOfAnOldNameBeginsAnew) {
  const SimulatedDevice device("sim0");
  for (int round = 0; round < 3; round++) {
    const Cgroup group("llmos-again");
    EXPECT_EQ(line_of(control(group, "memory.max"), "sim0"), "max");
    EXPECT_EQ(read_file(control(group, "time.weight")), "default 100\n");
    must_write(control(group, "memory.max"), "sim0 1M");
    must_write(control(group, "time.weight"), "7");
  }
}

TEST_F(Groups, OpenFileOutlivesItsCgroupHarmlessly) {
  const SimulatedDevice device("sim0");
  auto group = std::make_unique<Cgroup>("llmos-group");
  const Fd file(open(control(*group, "memory.max").c_str(), O_RDWR));
  const Fd folder(open(dir(*group).c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_GE(write(file, "sim0 1M", 7), 0);
  ASSERT_EQ(rmdir(group->path().c_str()), 0) << "what is open here does not hold it";
  char text[256];
  EXPECT_ERRNO(ENODEV, write(file, "sim0 2M", 7));
  EXPECT_OK(pread(file, text, sizeof(text), 0));
  EXPECT_ERRNO(ENOENT, openat(folder, "memory.low", O_RDONLY));
  group.reset();
}

// A user to whom a cgroup was delegated, as systemd does it: the directory is theirs.
TEST_F(Groups, DelegationReachesBelowTheTopAndNowhereElse) {
  const SimulatedDevice device("sim0");
  const Cgroup given("llmos-given"), other("llmos-other");
  ASSERT_EQ(chown(given.path().c_str(), alice.uid, alice.gid), 0);
  in_child(alice, [&] {
    ASSERT_EQ(mkdir((given.path() + "/own").c_str(), 0755), 0);
    ASSERT_EQ(mkdir((given.path() + "/own/below").c_str(), 0755), 0);
    const std::string own = given.path() + "/own";
    for (const char* file : {"memory.max", "memory.low"}) {
      EXPECT_OK(write_file(control(own, file), "sim0 1M")) << file;
      EXPECT_OK(write_file(control(own + "/below", file), "sim0 1M")) << file;
    }
    EXPECT_OK(write_file(control(own, "time.weight"), "50"));
    EXPECT_OK(write_file(control(own, "time.max"), "sim0 50000"));
    for (const char* file : {"memory.max", "memory.low", "time.weight", "time.max"}) {
      EXPECT_ERRNO(EACCES, write_file(control(given, file), "sim0 200000")) << "the top shares out its parent's";
      EXPECT_ERRNO(EACCES, write_file(control(other, file), "sim0 200000"));
    }
    EXPECT_OK(open(control(other, "memory.max").c_str(), O_RDONLY)) << "reading is everybody's";
    struct stat stat;
    ASSERT_EQ(::stat(control(own, "memory.max").c_str(), &stat), 0);
    EXPECT_EQ(stat.st_uid, alice.uid);
    ASSERT_EQ(::stat(control(given, "memory.max").c_str(), &stat), 0);
    EXPECT_EQ(stat.st_uid, 0u);
  });
  EXPECT_ERRNO_AS(bob, EACCES, write_file(control(given.path() + "/own", "memory.max"), "sim0 1M"));
  EXPECT_EQ(bytes_of(control(given.path() + "/own", "memory.max"), "sim0"), MiB);
  EXPECT_EQ(line_of(control(given, "memory.max"), "sim0"), "max");
  // Deeper: the middle directory given to bob is alice's no more.
  ASSERT_EQ(chown((given.path() + "/own").c_str(), bob.uid, bob.gid), 0);
  EXPECT_ERRNO_AS(alice, EACCES, write_file(control(given.path() + "/own/below", "memory.max"), "sim0 2M"));
  EXPECT_ERRNO_AS(bob, 0, write_file(control(given.path() + "/own/below", "memory.max"), "sim0 2M"));
  rmdir((given.path() + "/own/below").c_str());
  rmdir((given.path() + "/own").c_str());
}

TEST_F(Groups, DescriptorGivenAwayGoesOnWriting) {
  const SimulatedDevice device("sim0");
  const Cgroup group("llmos-group");
  const Fd file(open(control(group, "memory.max").c_str(), O_WRONLY));
  in_child(bob, [&] { EXPECT_OK(write(file, "sim0 3M", 7)); });
  EXPECT_EQ(bytes_of(control(group, "memory.max"), "sim0"), 3 * MiB);
}

void private_mounts() {
  if (unshare(CLONE_NEWNS) || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr)) throw_errno("private mounts");
  if (mount("none", "/tmp", "tmpfs", 0, nullptr)) throw_errno("tmpfs");
  mkdir("/tmp/cgroup", 0755);
  mkdir("/tmp/groups", 0755);
}

TEST_F(Groups, TreeOfACgroupNamespaceBeginsAtItsRoot) {
  const SimulatedDevice device("sim0");
  const Cgroup top("llmos-container"), outside("llmos-outside");
  const Cgroup inside("inside", top.path()), self("self", top.path());
  in_child([&] {
    top.enter();
    if (unshare(CLONE_NEWCGROUP)) throw_errno("cgroup namespace");
    private_mounts();
    if (mount("none", "/tmp/cgroup", "cgroup2", 0, nullptr)) throw_errno("cgroup2");
    ASSERT_EQ(mount("none", "/tmp/groups", LLMOS_GROUPS_FSTYPE, 0, "cgroup=/tmp/cgroup"), 0) << error_name(errno);
    EXPECT_EQ(list("/tmp/groups", true), (std::set<std::string>{"inside", "self"}));
    EXPECT_EQ(list("/tmp/groups", false), all_files) << "its root is an ordinary group";
    EXPECT_ERRNO(EPERM, write_file("/tmp/groups/memory.max", "sim0 1G")) << "root, but not outside";
    EXPECT_OK(write_file("/tmp/groups/inside/memory.max", "sim0 1M"));
    // The outer tree, left over from before:
    EXPECT_NE(errno_of([&] { return write_file(control(outside, "memory.max"), "sim0 1M"); }), 0);
    EXPECT_ERRNO(EPERM, write_file(control(top, "memory.max"), "sim0 1M"));
    EXPECT_OK(write_file(control(inside, "memory.low"), "sim0 1M"));
    self.enter();
    const Fd held = charge("sim0", 4096);
    EXPECT_EQ(bytes_of("/tmp/groups/memory.current", "sim0"), 4096u);
    EXPECT_EQ(bytes_of("/tmp/groups/self/memory.current", "sim0"), 4096u);
    EXPECT_OK(umount2("/tmp/groups", MNT_DETACH));
    must_write("/tmp/cgroup/cgroup.procs", "0");
  });
  EXPECT_EQ(bytes_of(control(inside, "memory.max"), "sim0"), MiB);
  EXPECT_EQ(line_of(control(top, "memory.max"), "sim0"), "max");
  EXPECT_EQ(line_of(control(outside, "memory.max"), "sim0"), "max");
}

// LLMOS_GROUP_OPEN on a descriptor of `directory`.
int open_by(int directory, const std::string& name, uint32_t flags = 0) {
  auto args = sized<llmos_group_open>();
  args.flags = flags;
  args.cgroup_fd = directory;
  name.copy(args.control, sizeof(args.control));
  return ioctl(device(), LLMOS_GROUP_OPEN, &args);
}

Fd directory_of(const std::string& path) { return Fd(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)); }

std::string text_of(const Fd& file) {
  char text[4096];
  const ssize_t size = read(file, text, sizeof(text));
  if (size < 0) throw_errno("read");
  return std::string(text, static_cast<size_t>(size));
}

TEST_F(Groups, DirectorysDescriptorOpensItsControlFiles) {
  const SimulatedDevice device("sim0");
  const Cgroup group("llmos-group");
  const Fd directory = directory_of(group.path()), root = directory_of("/sys/fs/cgroup");
  const Fd file(open_by(directory, "memory.max", LLMOS_GROUP_WRITE));
  ASSERT_GE(file, 0);
  EXPECT_OK(write(file, "sim0 1M", 7));
  EXPECT_EQ(bytes_of(control(group, "memory.max"), "sim0"), MiB);
  EXPECT_ERRNO(EINVAL, write(file, "sim0 some", 9));
  for (const std::string& name : all_files)
    EXPECT_EQ(text_of(Fd(open_by(directory, name))), read_file(control(group, name))) << name;
  for (const std::string& name : root_files) EXPECT_OK(close(open_by(root, name))) << name;

  EXPECT_ERRNO(EBADF, write(Fd(open_by(directory, "memory.max")), "sim0 2M", 7)) << "opened to read";
  EXPECT_ERRNO(EACCES, open_by(directory, "memory.current", LLMOS_GROUP_WRITE));
  EXPECT_ERRNO(ENOENT, open_by(root, "memory.max")) << "the root has no limits";
  EXPECT_ERRNO(ENOENT, open_by(directory, "cgroup.procs"));
  EXPECT_ERRNO(ENOENT, open_by(directory, "../memory.max"));
  EXPECT_ERRNO(EINVAL, open_by(directory, std::string(LLMOS_CONTROL_SIZE, 'm')));
  EXPECT_ERRNO(EINVAL, open_by(directory, "memory.max", LLMOS_GROUP_WRITE << 1));
  EXPECT_ERRNO(EBADF, open_by(-1, "memory.max"));
  EXPECT_ERRNO(EINVAL, open_by(directory_of("/tmp"), "memory.max")) << "no cgroup2";
  EXPECT_ERRNO(EINVAL, open_by(directory_of(groups_dir), "memory.current")) << "nor is this";
  EXPECT_ERRNO(EINVAL, open_by(Fd(open((group.path() + "/cgroup.procs").c_str(), O_RDONLY)), "memory.max"));
  EXPECT_EQ(bytes_of(control(group, "memory.max"), "sim0"), MiB);
}

TEST_F(Groups, DirectorysDescriptorOfARemovedCgroupOpensNothing) {
  const SimulatedDevice device("sim0");
  const Cgroup group("llmos-group");
  const Fd directory = directory_of(group.path());
  const Fd file(open_by(directory, "memory.max", LLMOS_GROUP_WRITE));
  ASSERT_EQ(rmdir(group.path().c_str()), 0) << "what is open here does not hold it";
  EXPECT_ERRNO(ENOENT, open_by(directory, "memory.max"));
  EXPECT_ERRNO(ENODEV, write(file, "sim0 2M", 7));
  EXPECT_OK(close(open(("/proc/self/fd/" + std::to_string(file)).c_str(), O_PATH)));
}

// The rights are those of the tree of groups, and what is mounted read-only stays as it is.
TEST_F(Groups, DirectorysDescriptorGivesNoRights) {
  const SimulatedDevice device("sim0");
  const Cgroup given("llmos-given");
  const Cgroup own("own", given.path());
  ASSERT_EQ(chown(given.path().c_str(), alice.uid, alice.gid), 0);
  const Fd top = directory_of(given.path()), below = directory_of(own.path());
  in_child(alice, [&] {
    EXPECT_OK(write(Fd(open_by(below, "memory.max", LLMOS_GROUP_WRITE)), "sim0 1M", 7));
    EXPECT_ERRNO(EACCES, open_by(top, "memory.max", LLMOS_GROUP_WRITE)) << "the top shares out its parent's";
    EXPECT_OK(open_by(top, "memory.max")) << "reading is everybody's";
  });
  EXPECT_ERRNO_AS(bob, EACCES, open_by(below, "memory.max", LLMOS_GROUP_WRITE));
  in_child([&] {
    given.enter();
    if (unshare(CLONE_NEWCGROUP)) throw_errno("cgroup namespace");
    EXPECT_ERRNO(EPERM, open_by(top, "memory.max", LLMOS_GROUP_WRITE)) << "the namespace's own root";
    EXPECT_OK(write(Fd(open_by(below, "memory.low", LLMOS_GROUP_WRITE)), "sim0 1M", 7));
    EXPECT_ERRNO(ENOENT, open_by(directory_of("/sys/fs/cgroup"), "memory.current")) << "outside of it";
    private_mounts();
    if (mount("none", "/tmp/cgroup", "cgroup2", MS_RDONLY, nullptr)) throw_errno("cgroup2");
    const Fd fixed = directory_of("/tmp/cgroup/own");
    EXPECT_ERRNO(EROFS, open_by(fixed, "memory.max", LLMOS_GROUP_WRITE));
    EXPECT_OK(open_by(fixed, "memory.max"));
  });
  EXPECT_EQ(bytes_of(control(own, "memory.max"), "sim0"), MiB);
}

// Directories of cgroup v1 have numbers of their own, and the same ones.
TEST_F(Groups, RemovalOfACgroupOfV1IsNoneOfTheirs) {
  const SimulatedDevice device("sim0");
  const Cgroup outer("llmos-outer");
  std::vector<std::unique_ptr<Cgroup>> groups;
  std::set<uint64_t> ids;
  for (int i = 0; i < 16; i++) {  // here and there, where they have more and fewer files, which are numbered too
    groups.push_back(
        std::make_unique<Cgroup>("llmos-v2-" + std::to_string(i), i % 2 ? outer.path() : "/sys/fs/cgroup"));
    must_write(control(*groups.back(), "memory.max"), "sim0 1M");
    ids.insert(groups.back()->id());
  }
  in_child([&] {
    private_mounts();
    mkdir("/tmp/v1", 0755);
    if (mount("none", "/tmp/v1", "cgroup", 0, "none,name=llmos-test")) throw_errno("cgroup v1");
    int same = 0;
    struct stat stat = {};
    while (stat.st_ino <= *ids.rbegin()) {
      ASSERT_OK(mkdir("/tmp/v1/group", 0755));
      ASSERT_OK(::stat("/tmp/v1/group", &stat));
      ASSERT_OK(rmdir("/tmp/v1/group"));
      same += ids.contains(stat.st_ino);
    }
    EXPECT_GT(same, 0) << "nothing was tried";
    EXPECT_OK(umount("/tmp/v1"));
  });
  for (const auto& group : groups) EXPECT_EQ(bytes_of(control(*group, "memory.max"), "sim0"), MiB);
}

TEST_F(Groups, MountWantsACgroup2) {
  in_child([] {
    private_mounts();
    EXPECT_ERRNO(EINVAL, mount("none", "/tmp/groups", LLMOS_GROUPS_FSTYPE, 0, "cgroup=/tmp"));
    EXPECT_NE(errno_of([] { return mount("none", "/tmp/groups", LLMOS_GROUPS_FSTYPE, 0, "cgroup=/nowhere"); }), 0);
    EXPECT_ERRNO(EINVAL, mount("none", "/tmp/groups", LLMOS_GROUPS_FSTYPE, 0, "nonsense=1"));
    ASSERT_EQ(mount("none", "/tmp/groups", LLMOS_GROUPS_FSTYPE, 0, nullptr), 0) << "/sys/fs/cgroup is the default";
    EXPECT_EQ(list("/tmp/groups", true), list(groups_dir, true));
    EXPECT_OK(umount("/tmp/groups"));
  });
  in_child([] {
    enter_user_namespace(0, 0);
    private_mounts();
    EXPECT_ERRNO(EPERM, mount("none", "/tmp/groups", LLMOS_GROUPS_FSTYPE, 0, nullptr));
  });
}

TEST_F(Groups, ComingAndGoingUnderWalkers) {
  const SimulatedDevice device("sim0");
  const Cgroup outer("llmos-flux");
  std::atomic<bool> stop = false;
  std::vector<std::thread> walkers;
  for (int i = 0; i < 3; i++)
    walkers.emplace_back([&, i] {
      const std::string path = outer.path() + "/g" + std::to_string(i);
      while (!stop) {
        write_file(control(path, "memory.max"), "sim0 1M");
        const Fd file(open(control(path, "memory.current").c_str(), O_RDONLY));
        char text[64];
        if (file >= 0 && read(file, text, sizeof(text)) < 0) break;
        if (i == 0) list(dir(outer), true);
      }
    });
  for (int round = 0; round < 300; round++)
    for (int i = 0; i < 3; i++) {
      const Cgroup group("g" + std::to_string(i), outer.path());
      const Cgroup below("below", group.path());
    }
  stop = true;
  for (auto& walker : walkers) walker.join();
  EXPECT_TRUE(list(dir(outer), true).empty());
}

}  // namespace
}  // namespace llmos::guest
