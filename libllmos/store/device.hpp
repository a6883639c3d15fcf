// SPDX-License-Identifier: MIT
// The kernel's commands, one function each: it fills in the sizes, and turns errno into a sentence.
#pragma once

#include <linux/llmos.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "system/fd.hpp"

namespace llmos::core {

inline constexpr char kDevicePath[] = "/dev/llmos";
inline constexpr char kModelsPath[] = "/sys/fs/llmos/models";

// Whether the models filesystem is mounted and this process may look into it.
bool models_mounted();

// /dev/llmos, after LLMOS_QUERY.
class Device {
 public:
  // Throws ENODEV (no module), EACCES (no right), EPROTO (another version of the ABI).
  Device();

  struct llmos_query query() const;
  Fd create(struct llmos_model_create& create) const;
  struct llmos_model_stat stat(const std::string& name) const;
  void remove(const std::string& name) const;
  void set(struct llmos_model_set set) const;
  void evict(const std::string& name) const;
  void revoke(struct llmos_model_revoke& revoke) const;
  std::vector<struct llmos_grant> grants(const std::string& name) const;

 private:
  Fd fd_;
};

// Commands on a model's descriptor. `name` is for the messages.
struct llmos_model_stat model_stat(int fd, const std::string& name);
// Bytes that arrived; throws as described in the UAPI. False: this file cannot be read by the kernel in this way.
bool model_fill(int fd, const std::string& name, int file, uint64_t offset, uint64_t length);
void model_seal(int fd, const std::string& name, std::span<const std::byte> signature);
int model_dmabuf(int fd, const std::string& name, uint32_t flags);

}  // namespace llmos::core
