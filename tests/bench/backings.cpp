// SPDX-License-Identifier: MIT
#include "backings.hpp"

#include <fcntl.h>
#include <linux/fsverity.h>
#include <linux/memfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstring>

#include "../vm/system.hpp"
#include "disk.hpp"

namespace llmos::bench {

using guest::Fd, guest::MiB;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

namespace {

Fd must_open(const std::string& path, int flags, mode_t mode = 0600) {
  Fd fd(open(path.c_str(), flags | O_CLOEXEC, mode));
  if (fd < 0) guest::throw_errno(path);
  return fd;
}

void must(int result, const char* what) {
  if (result) guest::throw_errno(what);
}

// ---- llmos ----

class Llmos : public Backing {
 public:
  std::string name() const override { return "llmos"; }

  Load load(const Source& source) override {
    const Fd disk = must_open(source.path, O_RDONLY | O_DIRECT);
    const double begin = now();
    const Fd fd = guest::create(model, source.bytes, {.page_shift = 21});
    const double created = now();
    must(guest::model_fill(fd, disk), "fill");
    const double filled = now();
    must(guest::model_seal(fd), "seal");
    return {filled - created, now() - begin};
  }
  Fd open() const override { return must_open(guest::path_of(model), O_RDONLY); }
  void drop() override { must(guest::model_evict(model), "evict"); }
  void forget() override { must(guest::model_remove(model), "remove"); }

 private:
  const std::string model = "bench";
};

// ---- files in memory: hugetlbfs, memfd ----

class MemoryFile : public Backing {
 public:
  Load load(const Source& source) override {
    const Fd disk = must_open(source.path, O_RDONLY | O_DIRECT);
    const double begin = now();
    file_ = make();
    must(ftruncate(file_, static_cast<off_t>(source.bytes)), "ftruncate");
    allocate(source.bytes);
    double filled = 0;
    {
      const guest::Mapping mapping(file_, source.bytes, PROT_READ | PROT_WRITE);
      DirectReader reader({mapping.data(), mapping.size()});
      const double allocated = now();
      reader.read(disk);
      filled = now() - allocated;
    }
    seal();
    return {filled, now() - begin};
  }

 protected:
  virtual Fd make() = 0;
  virtual void seal() {}
  Fd file_;

 private:
  void allocate(uint64_t bytes) {
    while (fallocate(file_, 0, 0, static_cast<off_t>(bytes)))
      if (errno != EINTR) guest::throw_errno("fallocate");  // a ring that is taken down interrupts
  }
};

class Hugetlbfs : public MemoryFile {
 public:
  explicit Hugetlbfs(const Source& source) {
    // Half of them for the memfd.
    guest::must_write("/proc/sys/vm/nr_hugepages", std::to_string(2 * source.bytes / (2 * MiB)));
    if (guest::read_number("/proc/sys/vm/nr_hugepages") < 2 * source.bytes / (2 * MiB))
      throw std::runtime_error("not enough huge pages can be had: give the machine more memory, or choose a smaller size");
    mkdir(folder.c_str(), 0700);
    must(mount("none", folder.c_str(), "hugetlbfs", 0, "pagesize=2M"), "mounting hugetlbfs");
  }
  ~Hugetlbfs() override {
    umount2(folder.c_str(), 0);
    guest::write_file("/proc/sys/vm/nr_hugepages", "0");
  }
  std::string name() const override { return "hugetlbfs file"; }
  Fd open() const override { return must_open(path, O_RDONLY); }
  void drop() override {
    must(unlink(path.c_str()), "unlink");
    file_.close();
  }

 protected:
  Fd make() override { return must_open(path, O_RDWR | O_CREAT); }

 private:
  const std::string folder = "/tmp/bench-hugetlbfs", path = folder + "/model";
};

class Memfd : public MemoryFile {
 public:
  explicit Memfd(bool huge) : huge_(huge) {}
  std::string name() const override { return huge_ ? "memfd, sealed, hugetlb" : "memfd, sealed"; }
  Fd open() const override { return must_open("/proc/self/fd/" + std::to_string(file_), O_RDONLY); }
  void drop() override { file_.close(); }

 protected:
  Fd make() override {
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge_ ? MFD_HUGETLB | MFD_HUGE_2MB : 0);
    Fd fd(memfd_create("model", flags));
    if (fd < 0) guest::throw_errno("memfd_create");
    return fd;
  }
  void seal() override {
    must(fcntl(file_, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), "sealing a memfd");
  }

 private:
  const bool huge_;
};

// ---- files on the disk, through the page cache ----

class Cached : public Backing {
 public:
  explicit Cached(std::string path, bool verity) : path_(std::move(path)), verity_(verity) {}
  std::string name() const override { return verity_ ? "fs-verity file" : "page cache"; }

  Load load(const Source& source) override {
    drop();
    const Fd fd = open();
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    const double begin = now();
    const guest::Mapping mapping(fd, source.bytes);
    must(madvise(mapping.data(), mapping.size(), MADV_POPULATE_READ), "reading into the cache");
    const double seconds = now() - begin;
    return {seconds, seconds};
  }
  Fd open() const override { return must_open(path_, O_RDONLY); }
  void drop() override {
    const Fd fd = open();
    must(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), "dropping the cache");
  }

 private:
  const std::string path_;
  const bool verity_;
};

// A copy of the source that fs-verity protects; made once.
std::string make_verity_copy(const Source& source) {
  const std::string path = source.path + "-verity";
  unlink(path.c_str());
  {
    const Fd from = must_open(source.path, O_RDONLY), to = must_open(path, O_WRONLY | O_CREAT | O_EXCL, 0400);
    for (uint64_t done = 0; done < source.bytes;) {
      const ssize_t n = copy_file_range(from, nullptr, to, nullptr, source.bytes - done, 0);
      if (n <= 0) guest::throw_errno("copying");
      done += static_cast<uint64_t>(n);
    }
    must(fsync(to), "fsync");
  }
  fsverity_enable_arg args = {};
  args.version = 1;
  args.hash_algorithm = FS_VERITY_HASH_ALG_SHA256;
  args.block_size = 4096;
  must(ioctl(must_open(path, O_RDONLY), FS_IOC_ENABLE_VERITY, &args), "enabling fs-verity");
  return path;
}

}  // namespace

std::vector<std::unique_ptr<Backing>> all_backings(const Source& source) {
  std::vector<std::unique_ptr<Backing>> all;
  all.push_back(std::make_unique<Llmos>());
  all.push_back(std::make_unique<Hugetlbfs>(source));
  all.push_back(std::make_unique<Memfd>(true));
  all.push_back(std::make_unique<Memfd>(false));
  all.push_back(std::make_unique<Cached>(make_verity_copy(source), true));
  all.push_back(std::make_unique<Cached>(source.path, false));
  return all;
}

}  // namespace llmos::bench
