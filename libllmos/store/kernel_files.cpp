// SPDX-License-Identifier: MIT
// Models of the kernel's store as files: what any process may do that the permissions let in.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "store/device.hpp"
#include "store/kernel.hpp"
#include "store/kernel_model.hpp"
#include "system/error.hpp"

namespace llmos::core {
namespace {

std::string path_of(const std::string& name) { return fmt::format("{}/{}", kModelsPath, name); }

[[noreturn]] void fail_file(const std::string& name) {
  const int code = errno;
  switch (code) {
    case ENOENT:
      if (!models_mounted())
        fail(ENOENT, "there is no model \"{}\": no models filesystem is mounted on {} (try \"mount -t {} {} {}\")",
             name, kModelsPath, LLMOS_MODELS_FSTYPE, LLMOS_MODELS_FSTYPE, kModelsPath);
      fail(code, "there is no model \"{}\" in {}", name, kModelsPath);
    case EACCES:
      fail(code, "no right to read model \"{}\": its owner and mode do not let this user in, or its access was revoked",
           name);
    case ESTALE:
      fail(code, "model \"{}\" was evicted from memory: load it again", name);
  }
  errno = code;
  fail_errno(fmt::format("cannot open model \"{}\"", name));
}

bool from_hex(const char* hex, size_t size, __u8* bytes) {
  for (size_t i = 0; i < size; ++i) {
    unsigned value = 0;
    if (std::sscanf(hex + 2 * i, "%2x", &value) != 1) return false;
    bytes[i] = static_cast<__u8>(value);
  }
  return true;
}

void read_digest(const std::string& path, struct llmos_model_stat& stat) {
  constexpr char prefix[] = "sha256:";
  constexpr size_t prefix_size = sizeof(prefix) - 1;
  char value[prefix_size + 2 * LLMOS_DIGEST_SIZE + 1] = {};
  const ssize_t size = ::getxattr(path.c_str(), LLMOS_DIGEST_XATTR, value, sizeof(value) - 1);
  if (size != sizeof(value) - 1 || std::memcmp(value, prefix, prefix_size) != 0) return;
  from_hex(value + prefix_size, LLMOS_DIGEST_SIZE, stat.digest);
}

}  // namespace

std::vector<std::string> kernel_model_names() {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(kModelsPath), ::closedir);
  if (!directory) fail_errno(fmt::format("cannot list {}", kModelsPath));
  if (!models_mounted())
    fail(ENOTCONN, "no models filesystem is mounted on {} (try \"mount -t {} {} {}\")", kModelsPath,
         LLMOS_MODELS_FSTYPE, LLMOS_MODELS_FSTYPE, kModelsPath);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(directory.get()))
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  std::sort(names.begin(), names.end());
  return names;
}

std::unique_ptr<Model> open_kernel_model(const std::string& name) {
  check_name(name);
  Fd fd(::open(path_of(name).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) fail_file(name);
  return std::make_unique<KernelModel>(std::move(fd), name);
}

struct llmos_model_stat stat_kernel_file(const std::string& name) {
  struct llmos_model_stat model {};
  put_name(model.name, name);
  struct stat file;
  if (::stat(path_of(name).c_str(), &file) != 0) fail_file(name);
  model.size = sizeof(model);
  model.bytes = model.filled = model.hashed = static_cast<uint64_t>(file.st_size);
  model.resident = static_cast<uint64_t>(file.st_blocks) * 512;
  model.state = model.resident ? LLMOS_STATE_SEALED : LLMOS_STATE_EVICTED;
  model.uid = file.st_uid;
  model.gid = file.st_gid;
  model.mode = file.st_mode & 07777;
  read_digest(path_of(name), model);
  return model;
}

}  // namespace llmos::core
