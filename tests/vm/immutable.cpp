// SPDX-License-Identifier: MIT
// Nobody, root included, changes a byte of a sealed model by any path, nor its attributes, nor its directory.
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <linux/io_uring.h>
#include <linux/loop.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include <csignal>

#include "guest.hpp"
#include "process.hpp"
#include "system.hpp"

namespace llmos::guest {
namespace {

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

constexpr uint64_t bytes = 4 * MiB + 100;

// <linux/falloc.h> has these, but only for filesystems' own use.
struct space_resv {
  int16_t l_type, l_whence;
  int64_t l_start, l_len;
  int32_t l_sysid;
  uint32_t l_pid;
  int32_t l_pad[4];
};
#define FS_IOC_UNRESVSP64 _IOW('X', 43, struct space_resv)
#define FS_IOC_ZERO_RANGE _IOW('X', 57, struct space_resv)

// One sealed model: `loader` made it, `reader` opened it by its path. Each test tries to change it, as root.
class Immutable : public ModuleTest {
 protected:
  void SetUp() override {
    ModuleTest::SetUp();
    loader = make_model("model", bytes);
    reader = open_model("model");
    ASSERT_GE(reader, 0);
    ASSERT_EQ(::stat(path, &before), 0);
  }

  void TearDown() override {
    struct stat after;
    ASSERT_EQ(::stat(path, &after), 0);
    EXPECT_EQ(after.st_size, before.st_size);
    EXPECT_EQ(after.st_mode, before.st_mode);
    EXPECT_EQ(after.st_uid, before.st_uid);
    EXPECT_EQ(after.st_ino, before.st_ino);
    EXPECT_EQ(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
    EXPECT_EQ(list_models(), std::set<std::string>{"model"});
    EXPECT_EQ(pattern_differs_in(reader, bytes), std::nullopt);
    EXPECT_EQ(pattern_differs_in(open_model("model"), bytes), std::nullopt);
    reader.close();
    loader.close();
    ModuleTest::TearDown();
  }

  const char* path = "/sys/fs/llmos/models/model";
  Fd loader, reader;
  struct stat before;
  char byte[4096] = {'x'};
};

std::string proc_path(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

TEST_F(Immutable, OpenForWriting) {
  EXPECT_ERRNO(EROFS, Fd(open(path, O_WRONLY)));
  EXPECT_ERRNO(EROFS, Fd(open(path, O_RDWR)));
  EXPECT_ERRNO(EROFS, Fd(open(path, O_WRONLY | O_APPEND)));
  EXPECT_ERRNO(EROFS, Fd(open(path, O_WRONLY | O_TRUNC)));
  EXPECT_ERRNO(EROFS, Fd(open(path, O_RDONLY | O_TRUNC)));
  EXPECT_ERRNO(EROFS, Fd(open(path, O_RDWR | O_DIRECT)));
}

TEST_F(Immutable, ReopenForWritingThroughProc) {
  EXPECT_ERRNO(EROFS, Fd(open(proc_path(reader).c_str(), O_RDWR)));
  EXPECT_ERRNO(EROFS, Fd(open(proc_path(loader).c_str(), O_RDWR)));
  EXPECT_ERRNO(EROFS, Fd(open(proc_path(loader).c_str(), O_WRONLY | O_TRUNC)));
  EXPECT_OK(Fd(open(proc_path(loader).c_str(), O_RDONLY)));
  EXPECT_OK(Fd(open(proc_path(reader).c_str(), O_RDONLY)));
}

TEST_F(Immutable, DirectoryThroughTheVfs) {
  const std::string other = models_dir + "/other";
  EXPECT_ERRNO(EROFS, Fd(open(other.c_str(), O_WRONLY | O_CREAT, 0644)));
  EXPECT_ERRNO(EROFS, Fd(open(models_dir.c_str(), O_TMPFILE | O_RDWR, 0600)));
  EXPECT_ERRNO(EROFS, mkdir(other.c_str(), 0755));
  EXPECT_ERRNO(EROFS, mknod(other.c_str(), S_IFIFO | 0644, 0));
  EXPECT_ERRNO(EROFS, symlink("x", other.c_str()));
  EXPECT_ERRNO(EROFS, link(path, other.c_str()));
  EXPECT_ERRNO(EROFS, rename(path, other.c_str()));
  EXPECT_ERRNO(EROFS, unlink(path));
  EXPECT_ERRNO(EXDEV, rename(path, "/scratch/stolen"));
  EXPECT_ERRNO(EXDEV, link(path, "/scratch/stolen"));
  const ScratchFile file("intruder", page);
  EXPECT_ERRNO(EXDEV, rename(file.path().c_str(), path));
  EXPECT_ERRNO(EROFS, chmod(models_dir.c_str(), 0777));
}

TEST_F(Immutable, AttributesByPath) {
  timespec times[2] = {};
  EXPECT_ERRNO(EROFS, truncate(path, 1));
  EXPECT_ERRNO(EROFS, truncate(path, 8 * MiB));
  EXPECT_ERRNO(EROFS, chmod(path, 0666));
  EXPECT_ERRNO(EROFS, chown(path, 1, 1));
  EXPECT_ERRNO(EROFS, utimensat(AT_FDCWD, path, times, 0));
  EXPECT_ERRNO(EROFS, setxattr(path, "user.x", "1", 1, 0));
  EXPECT_ERRNO(EROFS, setxattr(path, LLMOS_DIGEST_XATTR, "1", 1, 0));
  EXPECT_ERRNO(EROFS, setxattr(path, "security.capability", "1", 1, 0));
  EXPECT_ERRNO(EROFS, removexattr(path, LLMOS_DIGEST_XATTR));
}

// Each call that wants to write to `fd`, and the error it gets.
void attributes_by_descriptor(int fd) {
  timespec times[2] = {};
  EXPECT_ERRNO(EROFS, fchmod(fd, 0666));
  EXPECT_ERRNO(EROFS, fchown(fd, 1, 1));
  EXPECT_ERRNO(EROFS, futimens(fd, times));
  EXPECT_ERRNO(EROFS, fsetxattr(fd, "user.x", "1", 1, 0));
  EXPECT_ERRNO(EROFS, fremovexattr(fd, LLMOS_DIGEST_XATTR));
}

TEST_F(Immutable, AttributesByDescriptor) {
  attributes_by_descriptor(reader);
  attributes_by_descriptor(loader);
}

TEST_F(Immutable, WritesOnAReadersDescriptor) {
  iovec vector = {byte, 1};
  EXPECT_ERRNO(EBADF, write(reader, byte, 1));
  EXPECT_ERRNO(EBADF, pwrite(reader, byte, 1, 0));
  EXPECT_ERRNO(EBADF, pwritev2(reader, &vector, 1, 0, RWF_APPEND));
  EXPECT_ERRNO(EINVAL, ftruncate(reader, 1));
  EXPECT_ERRNO(EBADF, fallocate(reader, 0, 0, 1));
  EXPECT_ERRNO(EBADF, model_fill(reader, reader));
}

TEST_F(Immutable, WritesOnTheLoadersDescriptor) {
  iovec vector = {byte, 1};
  EXPECT_ERRNO(EPERM, write(loader, byte, 1));
  EXPECT_ERRNO(EPERM, pwrite(loader, byte, 1, 0));
  EXPECT_ERRNO(EPERM, pwritev2(loader, &vector, 1, 0, 0));
  EXPECT_ERRNO(EPERM, ftruncate(loader, 1));
  EXPECT_ERRNO(EPERM, ftruncate(loader, 0));
  EXPECT_ERRNO(EPERM, ftruncate(loader, 8 * MiB));
  for (const int mode : {0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
                         FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE})
    EXPECT_ERRNO(EPERM, fallocate(loader, mode, 0, page)) << mode;
  EXPECT_ERRNO(EPERM, model_fill(loader, reader));
}

TEST_F(Immutable, SplicesIntoTheLoadersDescriptor) {
  const ScratchFile file("source", page, 7);
  const Fd source = file.open(O_RDWR);
  int pipe[2];
  ASSERT_EQ(pipe2(pipe, O_CLOEXEC), 0);
  const Fd out(pipe[0]), in(pipe[1]);
  ASSERT_EQ(write(in, byte, page), static_cast<ssize_t>(page));
  loff_t at = 0, from = 0;
  EXPECT_ERRNO(EPERM, splice(out, nullptr, loader, &at, page, SPLICE_F_MOVE));
  off_t offset = 0;
  lseek(loader, 0, SEEK_SET);
  EXPECT_ERRNO(EPERM, sendfile(loader, source, &offset, page));
  EXPECT_ERRNO(EXDEV, copy_file_range(source, &from, loader, &at, page, 0));
  const Fd self = open_model("model");
  from = 0;
  EXPECT_ERRNO(EPERM, copy_file_range(self, &from, loader, &at, page, 0));
}

TEST_F(Immutable, ClonesAndDeduplication) {
  const ScratchFile file("source", page, 7);
  const Fd source = file.open(O_RDWR);
  EXPECT_ERRNO(EXDEV, ioctl(loader, FICLONE, static_cast<int>(source)));
  file_clone_range range = {.src_fd = reader, .src_length = page, .dest_offset = page};
  EXPECT_NE(errno_of([&] { return ioctl(loader, FICLONERANGE, &range); }), 0);
  alignas(file_dedupe_range) char room[sizeof(file_dedupe_range) + sizeof(file_dedupe_range_info)] = {};
  auto* dedupe = reinterpret_cast<file_dedupe_range*>(room);
  dedupe->src_length = page;
  dedupe->dest_count = 1;
  dedupe->info[0].dest_fd = loader;
  const int error = errno_of([&] { return ioctl(source, FIDEDUPERANGE, dedupe); });
  EXPECT_TRUE(error || dedupe->info[0].status < 0);
}

TEST_F(Immutable, FilesystemCommands) {
  for (const int fd : {static_cast<int>(loader), static_cast<int>(reader)}) {
    int flags = FS_NOATIME_FL;
    fsxattr attributes = {};
    fsverity_enable_arg verity = {.version = 1, .hash_algorithm = 1, .block_size = 4096};
    char label[FSLABEL_MAX] = "label";
    EXPECT_NE(errno_of([&] { return ioctl(fd, FS_IOC_SETFLAGS, &flags); }), 0);
    EXPECT_NE(errno_of([&] { return ioctl(fd, FS_IOC_FSSETXATTR, &attributes); }), 0);
    EXPECT_NE(errno_of([&] { return ioctl(fd, FS_IOC_ENABLE_VERITY, &verity); }), 0);
    EXPECT_NE(errno_of([&] { return ioctl(fd, FS_IOC_SETFSLABEL, label); }), 0);
    EXPECT_NE(errno_of([&] { return ioctl(fd, FITRIM, nullptr); }), 0);
    EXPECT_NE(errno_of([&] { return ioctl(fd, FIFREEZE, 0); }), 0);
    space_resv space = {.l_len = page};
    EXPECT_NE(errno_of([&] { return ioctl(fd, FS_IOC_UNRESVSP64, &space); }), 0);
    EXPECT_NE(errno_of([&] { return ioctl(fd, FS_IOC_ZERO_RANGE, &space); }), 0);
  }
}

TEST_F(Immutable, SharedWritableMappings) {
  EXPECT_ERRNO(EACCES, mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, reader, 0));
  EXPECT_ERRNO(EPERM, mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, loader, 0));
  EXPECT_ERRNO(EPERM, mmap(nullptr, bytes, PROT_WRITE, MAP_SHARED_VALIDATE, loader, 0));
  EXPECT_ERRNO(EPERM, mmap(nullptr, bytes, PROT_READ | PROT_EXEC, MAP_SHARED, reader, 0));
  EXPECT_ERRNO(EPERM, mmap(nullptr, bytes, PROT_READ | PROT_EXEC, MAP_PRIVATE, reader, 0));
}

TEST_F(Immutable, MprotectOfASharedMapping) {
  for (const int fd : {static_cast<int>(loader), static_cast<int>(reader)}) {
    const Mapping map(fd, bytes);
    map.touch();
    EXPECT_ERRNO(EACCES, mprotect(map.data(), page, PROT_READ | PROT_WRITE));
    EXPECT_ERRNO(EACCES, mprotect(map.data(), bytes, PROT_WRITE));
    EXPECT_ERRNO(EACCES, mprotect(map.data(), page, PROT_READ | PROT_EXEC));
    EXPECT_EQ(map.signal_at(0, true), SIGSEGV);
    EXPECT_EQ(map.signal_at(0), 0);
  }
}

TEST_F(Immutable, AdviceOnAMapping) {
  const Mapping map(reader, bytes);
  map.touch();
  EXPECT_ERRNO(EACCES, madvise(map.data(), bytes, MADV_REMOVE));
  EXPECT_NE(errno_of([&] { return madvise(map.data(), bytes, MADV_POPULATE_WRITE); }), 0);
  EXPECT_ERRNO(EINVAL, madvise(map.data(), bytes, MADV_FREE));
  for (const int advice :
       {MADV_DONTNEED, MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED, MADV_RANDOM, MADV_HUGEPAGE, MADV_NOHUGEPAGE,
        MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_COLLAPSE, MADV_DONTNEED_LOCKED, MADV_POPULATE_READ})
    madvise(map.data(), bytes, advice);
  EXPECT_EQ(pattern_differs(map.bytes()), std::nullopt);
  EXPECT_EQ(stat_of("model").huge, 4 * MiB) << "advice split the huge pages";
}

TEST_F(Immutable, ProcMemAndProcessVmWritev) {
  const Mapping map(reader, bytes);
  map.touch();
  const Fd memory(open("/proc/self/mem", O_RDWR));
  EXPECT_ERRNO(EIO, pwrite(memory, byte, 8, reinterpret_cast<off_t>(map.data())));
  iovec from = {byte, 8}, to = {map.data(), 8};
  EXPECT_ERRNO(EFAULT, process_vm_writev(getpid(), &from, 1, &to, 1, 0));
}

TEST_F(Immutable, Ptrace) {
  const Mapping shared(reader, bytes), mine(reader, bytes, PROT_READ, MAP_PRIVATE);
  Child child([&](Child::Parent&) {
    ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    raise(SIGSTOP);
    EXPECT_EQ(pattern_differs(shared.bytes()), std::nullopt);
    uint64_t poked;
    memcpy(&poked, mine.data(), sizeof(poked));
    EXPECT_EQ(poked, 0x6b6f70u);
  });
  ASSERT_EQ(waitpid(child.pid(), nullptr, WUNTRACED), child.pid());
  EXPECT_ERRNO(EIO, ptrace(PTRACE_POKEDATA, child.pid(), shared.data(), 0x6b6f70));
  EXPECT_OK(ptrace(PTRACE_POKEDATA, child.pid(), mine.data(), 0x6b6f70)) << "a debugger may change a private copy";
  ptrace(PTRACE_DETACH, child.pid(), nullptr, nullptr);
  child.join();
  EXPECT_EQ(pattern_differs(mine.bytes()), std::nullopt);
}

TEST_F(Immutable, ReadsOfOtherFilesIntoTheMapping) {
  const ScratchFile file("source", page, 7);
  const Mapping map(reader, bytes);
  map.touch();
  EXPECT_ERRNO(EFAULT, pread(file.open(O_RDONLY), map.data(), page, 0));
  EXPECT_ERRNO(EFAULT, pread(file.open(O_RDONLY | O_DIRECT), map.data(), page, 0));
  iovec to = {map.data(), page}, from = {byte, page};
  EXPECT_ERRNO(EFAULT, process_vm_readv(getpid(), &to, 1, &from, 1, 0));
  int pipe[2];
  ASSERT_EQ(pipe2(pipe, O_CLOEXEC), 0);
  const Fd out(pipe[0]), in(pipe[1]);
  ASSERT_EQ(write(in, byte, 100), 100);
  EXPECT_ERRNO(EFAULT, read(out, map.data(), 100));
}

TEST_F(Immutable, PipeThatHoldsItsPages) {
  int pipe[2];
  ASSERT_EQ(pipe2(pipe, O_CLOEXEC), 0);
  const Fd out(pipe[0]), in(pipe[1]);
  loff_t at = 0;
  ASSERT_EQ(splice(reader, &at, in, nullptr, 100, 0), 100);
  ASSERT_EQ(write(in, byte, 10), 10) << "must not be merged into the model's page";
  char text[110];
  ASSERT_EQ(read(out, text, sizeof(text)), 110);
  EXPECT_EQ(pattern_differs(std::as_bytes(std::span(text).first(100))), std::nullopt);
  EXPECT_EQ(text[100], 'x');

  const Mapping map(reader, bytes);
  iovec vector = {map.data(), page};
  ASSERT_EQ(vmsplice(in, &vector, 1, SPLICE_F_GIFT), static_cast<ssize_t>(page));
  const ScratchFile file("sink");
  EXPECT_EQ(splice(out, nullptr, file.open(O_RDWR), nullptr, page, SPLICE_F_MOVE), static_cast<ssize_t>(page));
  EXPECT_EQ(pattern_differs_in(file.open(), page), std::nullopt);
}

TEST_F(Immutable, RegisteredBuffersOfIoUring) {
  const Mapping map(reader, bytes);
  map.touch();
  io_uring_params params = {};
  const Fd ring(static_cast<int>(syscall(SYS_io_uring_setup, 4, &params)));
  if (ring < 0) GTEST_SKIP() << "no io_uring here: " << error_name(errno);
  iovec buffer = {map.data(), page};
  EXPECT_ERRNO(EFAULT, syscall(SYS_io_uring_register, static_cast<int>(ring), IORING_REGISTER_BUFFERS, &buffer, 1))
      << "a registered buffer may be written to";
}

TEST_F(Immutable, Userfaultfd) {
  const Fd fd(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC)));
  if (fd < 0) GTEST_SKIP() << "no userfaultfd here: " << error_name(errno);
  uffdio_api api = {.api = UFFD_API};
  ASSERT_EQ(ioctl(fd, UFFDIO_API, &api), 0);
  const Mapping map(reader, bytes);
  uffdio_register range = {{reinterpret_cast<uint64_t>(map.data()), 4 * MiB}, UFFDIO_REGISTER_MODE_MISSING, 0};
  EXPECT_NE(errno_of([&] { return ioctl(fd, UFFDIO_REGISTER, &range); }), 0);
}

TEST_F(Immutable, PrivateWritableMappingsGetCopies) {
  const Mapping mine(reader, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE), shared(reader, bytes);
  mine.data()[0] = std::byte{1};
  mine.data()[3 * MiB] = std::byte{2};
  mine.data()[bytes - 1] = std::byte{3};
  EXPECT_EQ(mine.data()[3 * MiB], std::byte{2});
  EXPECT_EQ(pattern_differs(shared.bytes()), std::nullopt);
  EXPECT_EQ(smaps(mine.data(), "Anonymous"), 3 * page);
  EXPECT_OK(mprotect(mine.data(), page, PROT_READ));
  EXPECT_OK(mprotect(mine.data(), page, PROT_READ | PROT_WRITE));
  const Fd memory(open("/proc/self/mem", O_RDWR));
  EXPECT_EQ(pwrite(memory, byte, 8, reinterpret_cast<off_t>(mine.data() + MiB)), 8);
  EXPECT_EQ(mine.data()[MiB], std::byte{'x'});
}

TEST_F(Immutable, DirectReadIntoAPrivateMappingGetsCopies) {
  const ScratchFile file("source", page, 7);
  const Mapping mine(reader, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  ASSERT_EQ(pread(file.open(O_RDONLY | O_DIRECT), mine.data(), page, 0), static_cast<ssize_t>(page));
  EXPECT_EQ(pattern_differs(mine.bytes().first(page), 0, 7), std::nullopt);
}

TEST_F(Immutable, RemountForWriting) {
  EXPECT_ERRNO(EROFS, mount(nullptr, models_dir.c_str(), nullptr, MS_REMOUNT, nullptr));
  EXPECT_NE(shell("mount -o remount,rw " + models_dir).status, 0);
  // A mount's own flag can be cleared; the filesystem's stays.
  mount(nullptr, models_dir.c_str(), nullptr, MS_REMOUNT | MS_BIND, nullptr);
  EXPECT_ERRNO(EROFS, Fd(open(path, O_RDWR)));
}

TEST_F(Immutable, SecondMountForWriting) {
  must_shell("mkdir -p /tmp/second && mount -t llmos_models -o rw none /tmp/second");
  EXPECT_ERRNO(EROFS, Fd(open("/tmp/second/model", O_RDWR)));
  EXPECT_ERRNO(EROFS, unlink("/tmp/second/model"));
  must_shell("umount /tmp/second && rmdir /tmp/second");
}

TEST_F(Immutable, SwapAndLoopDevicesOnTop) {
  EXPECT_NE(errno_of([&] { return swapon(path, 0); }), 0);
  shell("modprobe loop");
  const Fd control(open("/dev/loop-control", O_RDWR));
  const int number = ioctl(control, LOOP_CTL_GET_FREE);
  if (number < 0) GTEST_SKIP() << "no loop devices here";
  const Fd loop(open(("/dev/loop" + std::to_string(number)).c_str(), O_RDWR));
  for (const int fd : {static_cast<int>(loader), static_cast<int>(reader)}) {
    if (ioctl(loop, LOOP_SET_FD, fd)) continue;
    EXPECT_TRUE(pwrite(loop, byte, page, 0) < 0 || fsync(loop) < 0);
    EXPECT_OK(ioctl(loop, LOOP_CLR_FD, 0));
  }
}

TEST_F(Immutable, MemoryPressureAndCaches) {
  const Mapping map(reader, bytes);
  map.touch();
  const auto frames = page_frames(map.data(), 4 * MiB);
  posix_fadvise(reader, 0, 0, POSIX_FADV_DONTNEED);
  sync();
  must_write("/proc/sys/vm/drop_caches", "3");
  if (exists("/proc/sys/vm/compact_memory")) must_write("/proc/sys/vm/compact_memory", "1");
  madvise(map.data(), bytes, MADV_PAGEOUT);
  map.touch();
  EXPECT_EQ(page_frames(map.data(), 4 * MiB), frames) << "pages moved or were read again";
}

TEST_F(Immutable, EmptyExecutableAndHandles) {
  EXPECT_ERRNO(EACCES, execl(path, path, nullptr));
  alignas(file_handle) char room[sizeof(file_handle) + MAX_HANDLE_SZ] = {};
  auto* handle = reinterpret_cast<file_handle*>(room);
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount_id;
  EXPECT_ERRNO(EOPNOTSUPP, name_to_handle_at(AT_FDCWD, path, handle, &mount_id, 0));
}

// ---- before the seal ----

TEST(Unsealed, CannotBeReadMappedOrReopened) {
  const Fd fd = create("model", bytes);
  char byte[1];
  EXPECT_ERRNO(EBUSY, pread(fd, byte, 1, 0));
  EXPECT_ERRNO(EBUSY, mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0));
  EXPECT_ERRNO(EBUSY, mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
  EXPECT_ERRNO(EBUSY, mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  EXPECT_ERRNO(EBUSY, Fd(open(proc_path(fd).c_str(), O_RDONLY)));
  EXPECT_ERRNO(EROFS, Fd(open(proc_path(fd).c_str(), O_RDWR)));
  EXPECT_ERRNO(EBUSY, model_dmabuf(fd));
  int pipe[2];
  ASSERT_EQ(pipe2(pipe, O_CLOEXEC), 0);
  const Fd out(pipe[0]), in(pipe[1]);
  EXPECT_ERRNO(EBUSY, splice(fd, nullptr, in, nullptr, page, 0));
  EXPECT_ERRNO(EBUSY, sendfile(in, fd, nullptr, page));
  EXPECT_ERRNO(EXDEV, linkat(AT_FDCWD, proc_path(fd).c_str(), AT_FDCWD, "/scratch/stolen", AT_SYMLINK_FOLLOW));
  EXPECT_NE(errno_of([&] {
              return linkat(AT_FDCWD, proc_path(fd).c_str(), AT_FDCWD, path_of("stolen").c_str(), AT_SYMLINK_FOLLOW);
            }),
            0);
}

TEST(Unsealed, SizeIsFixed) {
  const Fd fd = create("model", bytes);
  EXPECT_ERRNO(EFBIG, pwrite(fd, "x", 1, bytes));
  EXPECT_EQ(pwrite(fd, "xyz", 3, bytes - 1), 1) << "a write across the end is short";
  EXPECT_ERRNO(EPERM, ftruncate(fd, 1));
  EXPECT_NE(errno_of([&] { return fallocate(fd, 0, 0, 2 * bytes); }), 0);
  EXPECT_EQ(lseek(fd, 0, SEEK_END), static_cast<off_t>(bytes));
}

}  // namespace
}  // namespace llmos::guest
