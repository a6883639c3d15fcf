// SPDX-License-Identifier: MIT
#include "store/device.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

#include "store/store.hpp"
#include "system/error.hpp"
#include "system/topology.hpp"

namespace llmos::core {
namespace {

constexpr uint64_t kFeatures = LLMOS_FEATURE_MODELS;  // what the library cannot do without

// The kernel's answer; a signal is no reason to give up.
template <typename Argument>
int command(int fd, unsigned long request, Argument& argument) {
  argument.size = sizeof(argument);
  int result;
  do result = ::ioctl(fd, request, &argument);
  while (result < 0 && errno == EINTR);
  return result;
}

template <typename Argument>
Argument named(const std::string& name) {
  Argument argument{};
  put_name(argument.name, name);
  return argument;
}

[[noreturn]] void fail_no_model(const std::string& name) {
  fail(ENOENT, "there is no model \"{}\"; \"llmosctl ls\" lists those there are", name);
}

// The errors that every command on a model by name shares; `what` completes "cannot ...".
[[noreturn]] void fail_named(const std::string& what, const std::string& name) {
  const int code = errno;
  if (code == ENOENT) fail_no_model(name);
  if (code == EPERM)
    fail(code, "cannot {} model \"{}\": only its owner or a process with CAP_SYS_ADMIN may", what, name);
  errno = code;
  fail_errno(fmt::format("cannot {} model \"{}\"", what, name));
}

[[noreturn]] void fail_open() {
  const int code = errno;
  if (code == EACCES || code == EPERM)
    fail(EACCES, "no right to use {}: become a member of the group \"llmos\" (and log in again), or ask for root",
         kDevicePath);
  if (code == ENOENT || code == ENXIO || code == ENODEV)
    fail(ENODEV, "there is no {}: the llmos module is not loaded (try \"modprobe llmos\")", kDevicePath);
  errno = code;
  fail_errno(fmt::format("cannot open {}", kDevicePath));
}

[[noreturn]] void fail_query() {
  const int code = errno;
  if (code == EPROTO)
    fail(code,
         "the llmos module does not speak version {} of the ABI, which this library needs: install the same "
         "version of both, and load that module",
         LLMOS_ABI_VERSION);
  if (code == EOPNOTSUPP) fail(code, "the llmos module that is loaded cannot hold models: load a newer one");
  errno = code;
  fail_errno(fmt::format("{} does not answer", kDevicePath));
}

[[noreturn]] void fail_too_many(const std::string& name) {
  fail(ENOSPC,
       "there are as many models as the module allows, and no room for \"{}\": remove one, or raise "
       "/sys/fs/llmos/models.max",
       name);
}

[[noreturn]] void fail_create(const struct llmos_model_create& create) {
  const int code = errno;
  const char* name = create.name;
  switch (code) {
    case EEXIST:
      fail(code, "there is a model \"{}\" already: give another name, or replace it", name);
    case EPERM:
      fail(code,
           "cannot make model \"{}\" for uid {} and gid {}: another owner needs CAP_CHOWN, and replacing a model "
           "its owner or CAP_SYS_ADMIN",
           name, static_cast<int>(create.uid), static_cast<int>(create.gid));
    case ENOSPC:
      fail_too_many(name);
    case EDQUOT:
      fail(code,
           "model \"{}\" needs {} bytes, more than the limit on all models leaves: remove or evict a model, or "
           "raise /sys/fs/llmos/memory.max",
           name, create.bytes);
    case ENOMEM:
      if (create.failed_node >= 0)
        fail(code,
             "NUMA node {} has not the memory for model \"{}\" of {} bytes: choose other nodes, or free memory there",
             create.failed_node, name, create.bytes);
      fail(code, "not enough memory for model \"{}\" of {} bytes: free some, or raise memory.max of this cgroup", name,
           create.bytes);
  }
  errno = code;
  fail_errno(fmt::format("cannot make model \"{}\" of {} bytes", name, create.bytes));
}

[[noreturn]] void fail_seal(const std::string& name) {
  const int code = errno;
  switch (code) {
    case EEXIST:
      fail(code, "a model \"{}\" has appeared meanwhile: give another name, or replace it", name);
    case ENOSPC:
      fail_too_many(name);
    case ENOKEY:
      fail(code,
           "model \"{}\" has no signature by a certificate that the kernel trusts: sign it, or add the signer's "
           "certificate to the keyring .llmos",
           name);
    case EKEYREJECTED:
      fail(code, "the signature does not fit the content of model \"{}\": file or signature was changed", name);
    case EBADMSG:
      fail(code, "the signature given for model \"{}\" is no detached PKCS#7 signature (DER)", name);
  }
  errno = code;
  fail_errno(fmt::format("cannot seal model \"{}\"", name));
}

}  // namespace

bool models_mounted() {
  struct statfs fs;
  return ::statfs(kModelsPath, &fs) == 0 && fs.f_type == LLMOS_MODELS_MAGIC && ::access(kModelsPath, R_OK | X_OK) == 0;
}

Device::Device() : fd_(::open(kDevicePath, O_RDWR | O_CLOEXEC)) {
  if (!fd_) fail_open();
  query();
}

struct llmos_query Device::query() const {
  struct llmos_query query {};
  query.abi = LLMOS_ABI_VERSION;
  query.features = kFeatures;
  if (command(fd_.get(), LLMOS_QUERY, query) < 0) fail_query();
  return query;
}

Fd Device::create(struct llmos_model_create& create) const {
  create.failed_node = -1;
  Fd fd(command(fd_.get(), LLMOS_MODEL_CREATE, create));
  if (!fd) fail_create(create);
  return fd;
}

struct llmos_model_stat Device::stat(const std::string& name) const {
  auto stat = named<struct llmos_model_stat>(name);
  if (command(fd_.get(), LLMOS_MODEL_STAT, stat) < 0) fail_named("look at", name);
  return stat;
}

void Device::remove(const std::string& name) const {
  auto model = named<struct llmos_model_name>(name);
  if (command(fd_.get(), LLMOS_MODEL_REMOVE, model) < 0) fail_named("remove", name);
}

void Device::set(struct llmos_model_set set) const {
  if (command(fd_.get(), LLMOS_MODEL_SET, set) < 0) fail_named("change", set.name);
}

void Device::evict(const std::string& name) const {
  auto model = named<struct llmos_model_name>(name);
  if (command(fd_.get(), LLMOS_MODEL_EVICT, model) == 0) return;
  if (errno == EBUSY) fail(EBUSY, "model \"{}\" is in use; \"llmosctl grants {}\" shows by whom", name, name);
  fail_named("evict", name);
}

void Device::revoke(struct llmos_model_revoke& revoke) const {
  if (command(fd_.get(), LLMOS_MODEL_REVOKE, revoke) == 0) return;
  if (errno == ESRCH) fail(ESRCH, "there is no process {} to revoke model \"{}\" from", revoke.value, revoke.name);
  if (errno == ENOSPC)
    fail(ENOSPC, "the deny list of model \"{}\" is full: allow somebody again, or revoke from a whole cgroup",
         revoke.name);
  fail_named("revoke", revoke.name);
}

std::vector<struct llmos_grant> Device::grants(const std::string& name) const {
  constexpr size_t kBatch = 256;
  std::vector<struct llmos_grant> grants;
  for (;;) {
    auto list = named<struct llmos_grant_list>(name);
    const size_t had = grants.size();
    list.after = had ? grants.back().id : 0;
    grants.resize(had + kBatch);
    list.count = kBatch;
    list.entry_size = sizeof(struct llmos_grant);
    list.grants = reinterpret_cast<uintptr_t>(grants.data() + had);
    if (command(fd_.get(), LLMOS_GRANT_LIST, list) < 0) fail_named("list the grants of", name);
    grants.resize(had + list.count);
    if (list.count < kBatch) return grants;
  }
}

struct llmos_model_stat model_stat(int fd, const std::string& name) {
  struct llmos_model_stat stat {};
  if (command(fd, LLMOS_MODEL_STAT, stat) < 0) fail_errno(fmt::format("cannot look at model \"{}\"", name));
  return stat;
}

bool model_fill(int fd, const std::string& name, int file, uint64_t offset, uint64_t length) {
  struct llmos_model_fill fill {};
  fill.fd = file;
  fill.offset = offset;
  fill.source_offset = offset;
  fill.length = length;
  if (command(fd, LLMOS_MODEL_FILL, fill) == 0) return true;
  if (errno == EINVAL || errno == EOPNOTSUPP || errno == ENOTTY) return false;
  if (errno == ENODATA)
    fail(ENODATA, "the file ended at byte {} of model \"{}\": it became shorter while it was read", offset + fill.done,
         name);
  fail_errno(fmt::format("cannot read byte {} of the file into model \"{}\"", offset + fill.done, name));
}

void model_seal(int fd, const std::string& name, std::span<const std::byte> signature) {
  if (signature.size() > LLMOS_SIGNATURE_MAX)
    fail(EINVAL, "the signature has {} bytes; at most {} are allowed", signature.size(), LLMOS_SIGNATURE_MAX);
  struct llmos_model_seal seal {};
  seal.signature = reinterpret_cast<uintptr_t>(signature.data());
  seal.signature_size = static_cast<uint32_t>(signature.size());
  if (command(fd, LLMOS_MODEL_SEAL, seal) < 0) fail_seal(name);
}

int model_dmabuf(int fd, const std::string& name, uint32_t flags) {
  struct llmos_model_dmabuf dmabuf {};
  dmabuf.flags = flags;
  const int result = command(fd, LLMOS_MODEL_DMABUF, dmabuf);
  if (result < 0) fail_errno(fmt::format("cannot export model \"{}\" as a dma-buf", name));
  return result;
}

}  // namespace llmos::core
