// SPDX-License-Identifier: MIT
#include "store/source.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "system/error.hpp"

namespace llmos::core {
namespace {

Fd open_source(const std::string& path) {
  Fd fd(path == "-" ? ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) fail_errno(fmt::format("cannot open \"{}\"", path));
  return fd;
}

}  // namespace

Source::Source(const std::string& path, uint64_t bytes) : path_(path), fd_(open_source(path)) {
  if (::fstat(fd_.get(), &status_) != 0) fail_errno(fmt::format("cannot look at \"{}\"", path));
  if (S_ISDIR(status_.st_mode)) fail(EISDIR, "\"{}\" is a directory: name the model's file in it", path);
  seekable_ = S_ISREG(status_.st_mode) || S_ISBLK(status_.st_mode);
  if (!seekable_) {
    if (!bytes) fail(EINVAL, "\"{}\" is a stream, whose length nobody knows: say how many bytes the model has", path);
    size_ = bytes;
    return;
  }
  const uint64_t length = measure();
  if (!length) fail(EINVAL, "\"{}\" is empty, and a model has at least one byte", path);
  if (bytes > length) fail(ENODATA, "\"{}\" has {} bytes, and {} are asked for", path, length, bytes);
  size_ = bytes ? bytes : length;
  // Through the descriptor: the path may name another file by now.
  direct_ = Fd(::open(fmt::format("/proc/self/fd/{}", fd_.get()).c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT));
}

uint64_t Source::measure() const {
  if (S_ISREG(status_.st_mode)) return static_cast<uint64_t>(status_.st_size);
  uint64_t length = 0;
  if (::ioctl(fd_.get(), BLKGETSIZE64, &length) != 0) fail_errno(fmt::format("cannot measure \"{}\"", path_));
  return length;
}

void Source::check_unchanged() const {
  struct stat now;
  if (::fstat(fd_.get(), &now) != 0) fail_errno(fmt::format("cannot look at \"{}\"", path_));
  const auto same = [](const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; };
  if (S_ISREG(now.st_mode) && (now.st_size != status_.st_size || !same(now.st_mtim, status_.st_mtim)))
    fail(EBUSY, "\"{}\" was written to while it was read: load it when it is complete", path_);
}

std::string Source::name() const { return path_.substr(path_.find_last_of('/') + 1); }

}  // namespace llmos::core
