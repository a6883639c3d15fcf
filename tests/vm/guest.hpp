// SPDX-License-Identifier: MIT
// What the tests of the module share: the calls of <linux/llmos.h> as they are, and models full of a known pattern.
//
// Functions named like a system call return what it returns: -1 and errno, or a descriptor, or 0. The others throw
// std::system_error when they cannot do their work, which fails the test that called them.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/llmos.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace llmos::guest {

inline constexpr uint64_t KiB = 1024, MiB = 1024 * KiB, page = 4 * KiB, huge_page = 2 * MiB;

class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { close(); }

  operator int() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  void close() {
    const int saved = errno;
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
    errno = saved;
  }

 private:
  int fd_ = -1;
};

// ---- errors ----

[[noreturn]] void throw_errno(const std::string& what);
std::string error_name(int error);  // "EPERM"; "success" for 0

template <typename Call>
int errno_of(Call call) {
  errno = 0;
  auto result = call();  // destroyed after errno was read
  if constexpr (std::is_pointer_v<decltype(result)>) {
    return result == MAP_FAILED ? errno : 0;
  } else {
    return static_cast<int64_t>(result) == -1 ? errno : 0;
  }
}

testing::AssertionResult same_error(const char*, const char* call, int expected, int actual);

// EXPECT_ERRNO(EPERM, write(fd, "x", 1)): the call fails with that error. EXPECT_OK: it does not fail.
#define EXPECT_ERRNO(expected, ...) \
  EXPECT_PRED_FORMAT2(::llmos::guest::same_error, expected, ::llmos::guest::errno_of([&] { return __VA_ARGS__; }))
#define EXPECT_OK(...) EXPECT_ERRNO(0, __VA_ARGS__)
#define ASSERT_ERRNO(expected, ...) \
  ASSERT_PRED_FORMAT2(::llmos::guest::same_error, expected, ::llmos::guest::errno_of([&] { return __VA_ARGS__; }))
#define ASSERT_OK(...) ASSERT_ERRNO(0, __VA_ARGS__)

// ---- the ABI ----

// A struct of the ABI with its size filled in and the rest zero.
template <typename Args>
Args sized() {
  Args args = {};
  args.size = sizeof(args);
  return args;
}

int command(int fd, unsigned long number, void* args);
template <typename Args>
int command(int fd, unsigned long number, Args& args) {
  return command(fd, number, static_cast<void*>(&args));
}

Fd open_device();     // opened, nothing negotiated
int device();         // this process's own, with every feature negotiated
llmos_query query();  // of device()

llmos_model_create create_args(const std::string& name, uint64_t bytes);
int model_create(llmos_model_create& args);
int model_create(const std::string& name, uint64_t bytes);
int model_fill(int fd, int source, uint64_t offset = 0, uint64_t source_offset = 0, uint64_t length = 0,
               uint64_t* done = nullptr);
int model_seal(int fd);
int model_remove(const std::string& name);
int model_evict(const std::string& name);
int model_set(const std::string& name, uint32_t mask, uint32_t flags, int32_t priority);
int model_stat(int fd, llmos_model_stat& stat);
int model_dmabuf(int fd, uint32_t flags = 0);
int model_revoke(const std::string& name, uint32_t subject, int64_t value, uint32_t flags = 0,
                 llmos_model_revoke* result = nullptr);

// The same for tests in which they must work.
llmos_model_stat stat_of(const std::string& name);
llmos_model_stat stat_of(int fd);
uint64_t revoke(const std::string& name, uint32_t subject, int64_t value, uint32_t flags = 0);  // grants revoked
std::vector<llmos_grant> grants_of(const std::string& name);

// ---- the pattern ----

// Bytes that tell where they belong: a function of offset and seed, different for each 8 bytes.
void pattern(std::span<std::byte> out, uint64_t offset, uint64_t seed = 0);
std::vector<std::byte> pattern_bytes(uint64_t bytes, uint64_t seed = 0);
// The offset of the first byte that is not the pattern's; nothing when all are.
std::optional<uint64_t> pattern_differs(std::span<const std::byte> bytes, uint64_t offset = 0, uint64_t seed = 0);
std::optional<uint64_t> pattern_differs_in(int fd, uint64_t bytes, uint64_t seed = 0);  // by pread
bool all_zero(std::span<const std::byte> bytes);
void write_pattern(int fd, uint64_t bytes, uint64_t seed = 0, uint64_t from = 0);

// ---- models ----

struct Make {
  uint64_t seed = 0;
  uint32_t mode = 0444;
  uint32_t uid = -1, gid = -1;
  uint32_t flags = 0;  // LLMOS_MODEL_EVICTABLE, LLMOS_CREATE_REPLACE
  int32_t priority = 0;
  uint32_t page_shift = 0;
  uint32_t node_policy = LLMOS_NODES_LOCAL;
  uint64_t nodes = 0;
};

inline const std::string models_dir = "/sys/fs/llmos/models";
std::string path_of(const std::string& name);

Fd create(const std::string& name, uint64_t bytes, const Make& make = {});
// A sealed model full of the pattern. Returns the loader's descriptor.
Fd make_model(const std::string& name, uint64_t bytes, const Make& make = {});
Fd open_model(const std::string& name, int flags = O_RDONLY);
std::set<std::string> list_models();  // by readdir

class Mapping {
 public:
  Mapping() = default;
  Mapping(int fd, uint64_t bytes, int protection = PROT_READ, int flags = MAP_SHARED, uint64_t offset = 0);
  Mapping(void* address, uint64_t bytes) : address_(static_cast<std::byte*>(address)), bytes_(bytes) {}
  Mapping(Mapping&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(address_, other.address_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Mapping() { unmap(); }

  std::byte* data() const { return address_; }
  uint64_t size() const { return bytes_; }
  std::span<const std::byte> bytes() const { return {address_, bytes_}; }
  void touch() const;  // every page, by reading
  void unmap() {
    if (address_) munmap(address_, bytes_);
    address_ = nullptr;
  }
  void release() { address_ = nullptr; }  // the address space is somebody else's now
  // Does reading (or writing) the byte at `offset` raise this signal? 0: none.
  int signal_at(uint64_t offset, bool write = false) const;

 private:
  std::byte* address_ = nullptr;
  uint64_t bytes_ = 0;
};

int signal_of_access(volatile std::byte* address, bool write);  // 0, SIGBUS or SIGSEGV

// Every test begins and ends with no model but those that were there before, and not a byte charged to them.
class ModuleTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

 private:
  std::set<std::string> before_;
  uint64_t charged_ = 0;
};

}  // namespace llmos::guest
