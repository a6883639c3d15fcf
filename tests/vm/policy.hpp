// SPDX-License-Identifier: MIT
// Policies as operators use them: by stock bpftool.
#pragma once

#include <sys/mount.h>

#include <cstdint>
#include <string>

#include "lane.hpp"

namespace llmos::guest {

inline const std::string policies_dir = "/mnt/policies/", pins_dir = "/sys/fs/bpf/llmos/";

inline bool have_policies() {
  return exists(policies_dir) && have_program("bpftool") && read_file(hooks_dir + "available") == "1\n";
}

// The bytes of a number as bpftool wants them.
inline std::string bytes_of(uint64_t value, int size = 8) {
  std::string text;
  for (int i = 0; i < size; i++) text += std::to_string(value >> (8 * i) & 255) + " ";
  return text;
}

// Attached while it lives.
class Policy {
 public:
  explicit Policy(std::string name) : name_(std::move(name)) {
    must_shell("mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf; mkdir -p " + pins_dir);
    must_shell("bpftool prog loadall " + policies_dir + name_ + ".bpf.o " + pins() + " autoattach pinmaps " + maps());
  }
  Policy(const Policy&) = delete;
  Policy& operator=(const Policy&) = delete;
  ~Policy() { shell("rm -r " + pins() + " " + maps()); }

  void set(const std::string& map, const std::string& key, const std::string& value) const {
    must_shell("bpftool map update pinned " + maps() + "/" + map + " key " + key + " value " + value);
  }
  void set(const std::string& map, const std::string& value) const { set(map, "0 0 0 0", value); }
  void open_gate() const { set("gate", "1 0 0 0"); }
  std::string dump(const std::string& map) const {
    return must_shell("bpftool -j map dump pinned " + maps() + "/" + map);
  }
  std::string pins() const { return pins_dir + name_; }
  std::string maps() const { return pins_dir + name_ + "_maps"; }

 private:
  std::string name_;
};

// answered, default, refused
inline uint64_t hook_count(const std::string& hook, const std::string& what) {
  const std::string text = read_file(hooks_dir + hook);
  const auto at = text.find(what + " ");
  return at == std::string::npos ? UINT64_MAX : std::stoull(text.substr(at + what.size() + 1));
}

}  // namespace llmos::guest
