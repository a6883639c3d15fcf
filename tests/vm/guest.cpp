// SPDX-License-Identifier: MIT
#include "guest.hpp"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>
#include <system_error>

#include "system.hpp"

namespace llmos::guest {

// ---- errors ----

void throw_errno(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

std::string error_name(int error) {
  if (!error) return "success";
  const char* name = strerrorname_np(error);
  return name ? name : "errno " + std::to_string(error);
}

testing::AssertionResult same_error(const char*, const char* call, int expected, int actual) {
  if (expected == actual) return testing::AssertionSuccess();
  std::string text = call;
  const std::string wrapper = "[&] { return ";
  if (const auto at = text.find(wrapper); at != std::string::npos) text = text.substr(at + wrapper.size());
  return testing::AssertionFailure() << text << "\n  wanted " << error_name(expected) << ", got " << error_name(actual);
}

// ---- the ABI ----

int command(int fd, unsigned long number, void* args) { return ioctl(fd, number, args); }

Fd open_device() { return Fd(open("/dev/llmos", O_RDWR | O_CLOEXEC)); }

static llmos_query negotiate(int fd, uint64_t features) {
  auto args = sized<llmos_query>();
  args.abi = LLMOS_ABI_VERSION;
  args.features = features;
  if (command(fd, LLMOS_QUERY, args)) throw_errno("LLMOS_QUERY");
  return args;
}

int device() {
  static const int fd = [] {
    Fd opened = open_device();
    if (opened < 0) throw_errno("/dev/llmos");
    negotiate(opened, negotiate(opened, 0).features);
    return opened.release();
  }();
  return fd;
}

llmos_query query() { return negotiate(device(), 0); }

template <typename Args>
static Args named(const std::string& name) {
  auto args = sized<Args>();
  memcpy(args.name, name.data(), std::min(name.size(), sizeof(args.name)));  // unterminated when too long
  return args;
}

llmos_model_create create_args(const std::string& name, uint64_t bytes) {
  auto args = named<llmos_model_create>(name);
  args.bytes = bytes;
  args.mode = 0444;
  args.uid = args.gid = -1;
  return args;
}

int model_create(llmos_model_create& args) { return command(device(), LLMOS_MODEL_CREATE, args); }

int model_create(const std::string& name, uint64_t bytes) {
  auto args = create_args(name, bytes);
  return model_create(args);
}

int model_fill(int fd, int source, uint64_t offset, uint64_t source_offset, uint64_t length, uint64_t* done) {
  auto args = sized<llmos_model_fill>();
  args.fd = source;
  args.offset = offset;
  args.source_offset = source_offset;
  args.length = length;
  const int result = command(fd, LLMOS_MODEL_FILL, args);
  if (done) *done = args.done;
  return result;
}

int model_seal(int fd) {
  auto args = sized<llmos_model_seal>();
  return command(fd, LLMOS_MODEL_SEAL, args);
}

int model_remove(const std::string& name) {
  auto args = named<llmos_model_name>(name);
  return command(device(), LLMOS_MODEL_REMOVE, args);
}

int model_evict(const std::string& name) {
  auto args = named<llmos_model_name>(name);
  return command(device(), LLMOS_MODEL_EVICT, args);
}

int model_set(const std::string& name, uint32_t mask, uint32_t flags, int32_t priority) {
  auto args = named<llmos_model_set>(name);
  args.mask = mask;
  args.flags = flags;
  args.priority = priority;
  return command(device(), LLMOS_MODEL_SET, args);
}

int model_stat(int fd, llmos_model_stat& stat) {
  stat.size = sizeof(stat);
  return command(fd, LLMOS_MODEL_STAT, stat);
}

int model_dmabuf(int fd, uint32_t flags) {
  auto args = sized<llmos_model_dmabuf>();
  args.flags = flags;
  return command(fd, LLMOS_MODEL_DMABUF, args);
}

int model_revoke(const std::string& name, uint32_t subject, int64_t value, uint32_t flags, llmos_model_revoke* result) {
  auto args = named<llmos_model_revoke>(name);
  args.subject = subject;
  args.value = value;
  args.flags = flags;
  const int status = command(device(), LLMOS_MODEL_REVOKE, args);
  if (result) *result = args;
  return status;
}

llmos_model_stat stat_of(const std::string& name) {
  auto stat = named<llmos_model_stat>(name);
  if (model_stat(device(), stat)) throw_errno("stat of " + name);
  return stat;
}

llmos_model_stat stat_of(int fd) {
  auto stat = sized<llmos_model_stat>();
  if (model_stat(fd, stat)) throw_errno("stat of a descriptor");
  return stat;
}

uint64_t revoke(const std::string& name, uint32_t subject, int64_t value, uint32_t flags) {
  llmos_model_revoke result;
  if (model_revoke(name, subject, value, flags, &result)) throw_errno("revoke " + name);
  return result.revoked;
}

std::vector<llmos_grant> grants_of(const std::string& name) {
  std::vector<llmos_grant> all, some(64);
  auto args = named<llmos_grant_list>(name);
  args.grants = reinterpret_cast<uint64_t>(some.data());
  args.entry_size = sizeof(llmos_grant);
  do {
    args.after = all.empty() ? 0 : all.back().id;
    args.count = some.size();
    if (command(device(), LLMOS_GRANT_LIST, args)) throw_errno("grants of " + name);
    all.insert(all.end(), some.begin(), some.begin() + args.count);
  } while (args.count == some.size());
  return all;
}

// ---- the pattern ----

static uint64_t pattern_word(uint64_t index, uint64_t seed) {
  return (index + seed * 0x1000003 + 1) * 0x9E3779B97F4A7C15;
}

static std::byte pattern_byte(uint64_t offset, uint64_t seed) {
  return static_cast<std::byte>(pattern_word(offset / 8, seed) >> (offset % 8 * 8));
}

void pattern(std::span<std::byte> out, uint64_t offset, uint64_t seed) {
  size_t i = 0;
  while (i < out.size() && (offset + i) % 8) out[i] = pattern_byte(offset + i, seed), i++;
  for (; i + 8 <= out.size(); i += 8) {
    const uint64_t word = pattern_word((offset + i) / 8, seed);
    memcpy(&out[i], &word, 8);
  }
  for (; i < out.size(); i++) out[i] = pattern_byte(offset + i, seed);
}

std::vector<std::byte> pattern_bytes(uint64_t bytes, uint64_t seed) {
  std::vector<std::byte> all(bytes);
  pattern(all, 0, seed);
  return all;
}

std::optional<uint64_t> pattern_differs(std::span<const std::byte> bytes, uint64_t offset, uint64_t seed) {
  std::vector<std::byte> wanted(std::min<uint64_t>(bytes.size(), MiB));
  for (uint64_t at = 0; at < bytes.size(); at += wanted.size()) {
    const auto part = bytes.subspan(at, std::min<uint64_t>(wanted.size(), bytes.size() - at));
    pattern(wanted, offset + at, seed);
    if (!memcmp(part.data(), wanted.data(), part.size())) continue;
    return offset + at + (std::ranges::mismatch(part, wanted).in1 - part.begin());
  }
  return std::nullopt;
}

std::optional<uint64_t> pattern_differs_in(int fd, uint64_t bytes, uint64_t seed) {
  std::vector<std::byte> part(MiB);
  for (uint64_t at = 0; at < bytes;) {
    const ssize_t n = pread(fd, part.data(), std::min<uint64_t>(part.size(), bytes - at), at);
    if (n < 0) throw_errno("pread");
    if (n == 0) return at;
    if (const auto found = pattern_differs(std::span(part).first(n), at, seed)) return found;
    at += n;
  }
  return std::nullopt;
}

bool all_zero(std::span<const std::byte> bytes) {
  return std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
}

void write_pattern(int fd, uint64_t bytes, uint64_t seed, uint64_t from) {
  std::vector<std::byte> part(std::min(MiB, bytes));
  for (uint64_t at = from; at < from + bytes;) {
    const auto out = std::span(part).first(std::min<uint64_t>(part.size(), from + bytes - at));
    pattern(out, at, seed);
    const ssize_t n = pwrite(fd, out.data(), out.size(), at);
    if (n <= 0) throw_errno("pwrite");
    at += n;
  }
}

// ---- models ----

std::string path_of(const std::string& name) { return models_dir + "/" + name; }

Fd create(const std::string& name, uint64_t bytes, const Make& make) {
  auto args = create_args(name, bytes);
  args.mode = make.mode;
  args.uid = make.uid;
  args.gid = make.gid;
  args.flags = make.flags;
  args.priority = make.priority;
  args.page_shift = make.page_shift;
  args.node_policy = make.node_policy;
  args.nodes = make.nodes;
  Fd fd(model_create(args));
  if (fd < 0) throw_errno("create " + name);
  return fd;
}

Fd make_model(const std::string& name, uint64_t bytes, const Make& make) {
  Fd fd = create(name, bytes, make);
  write_pattern(fd, bytes, make.seed);
  if (model_seal(fd)) throw_errno("seal " + name);
  return fd;
}

Fd open_model(const std::string& name, int flags) { return Fd(open(path_of(name).c_str(), flags | O_CLOEXEC)); }

std::set<std::string> list_models() {
  std::set<std::string> names;
  DIR* dir = opendir(models_dir.c_str());
  if (!dir) throw_errno(models_dir);
  while (const dirent* entry = readdir(dir))
    if (entry->d_name[0] != '.') names.insert(entry->d_name);
  closedir(dir);
  return names;
}

Mapping::Mapping(int fd, uint64_t bytes, int protection, int flags, uint64_t offset) : bytes_(bytes) {
  void* address = mmap(nullptr, bytes, protection, flags, fd, static_cast<off_t>(offset));
  if (address == MAP_FAILED) throw_errno("mmap");
  address_ = static_cast<std::byte*>(address);
}

void Mapping::touch() const {
  for (uint64_t at = 0; at < bytes_; at += page) static_cast<void>(*static_cast<volatile std::byte*>(address_ + at));
}

int Mapping::signal_at(uint64_t offset, bool write) const { return signal_of_access(address_ + offset, write); }

static thread_local sigjmp_buf access_failed;
static void on_access_failed(int signal) { siglongjmp(access_failed, signal); }

int signal_of_access(volatile std::byte* address, bool write) {
  struct sigaction action = {}, old_bus, old_segv;
  action.sa_handler = on_access_failed;
  sigaction(SIGBUS, &action, &old_bus);
  sigaction(SIGSEGV, &action, &old_segv);
  const int signal = sigsetjmp(access_failed, 1);
  if (!signal) {
    const std::byte value = *address;
    if (write) *address = value;
  }
  sigaction(SIGBUS, &old_bus, nullptr);
  sigaction(SIGSEGV, &old_segv, nullptr);
  return signal;
}

void ModuleTest::SetUp() {
  before_ = list_models();
  charged_ = memory_current();
}

void ModuleTest::TearDown() {
  for (const auto& name : list_models()) {
    if (before_.contains(name)) continue;
    EXPECT_OK(model_remove(name));
  }
  EXPECT_TRUE(eventually([this] { return memory_current() == charged_; }))
      << "the test leaves " << memory_current() << " bytes behind; there were " << charged_ << " before it";
}

}  // namespace llmos::guest
