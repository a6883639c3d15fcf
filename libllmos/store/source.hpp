// SPDX-License-Identifier: MIT
// What a model is loaded from: a file, a block device, or a stream such as a pipe.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <string>

#include "system/fd.hpp"

namespace llmos::core {

class Source {
 public:
  // "-" is standard input. `bytes` is the length wanted; 0: the file's, which only a stream does not have. Throws the
  // errors of open(2), EISDIR, EINVAL (empty, or a stream without a length), ENODATA (shorter than wanted).
  Source(const std::string& path, uint64_t bytes);

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }
  bool seekable() const { return seekable_; }
  int fd() const { return fd_.get(); }
  int direct_fd() const { return direct_.get(); }  // opened with O_DIRECT; -1 where that is impossible
  unsigned read_bits() const { return status_.st_mode & 0444; }
  const struct stat& status() const { return status_; }

  // Throws EBUSY when the file was written to since it was opened: what was read may be a mixture.
  void check_unchanged() const;

  // The last component of the path.
  std::string name() const;

 private:
  uint64_t measure() const;

  std::string path_;
  Fd fd_;
  Fd direct_;
  struct stat status_ {};
  bool seekable_ = false;
  uint64_t size_ = 0;
};

}  // namespace llmos::core
