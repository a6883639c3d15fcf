// SPDX-License-Identifier: MIT
#include "checks.hpp"

#include <fmt/format.h>
#include <grp.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "text.hpp"

namespace llmosctl {
namespace {

namespace fs = std::filesystem;

constexpr char kModels[] = "sys/fs/llmos/models";

std::string read(const System& system, const fs::path& path) {
  std::ifstream in(system.root / path);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

bool exists(const System& system, const fs::path& path) {
  std::error_code error;
  return fs::exists(system.root / path, error);
}

// The word in brackets: "always [madvise] never".
std::string chosen(const std::string& choices) {
  const size_t from = choices.find('['), to = choices.find(']');
  return from < to && to != choices.npos ? choices.substr(from + 1, to - from - 1) : "";
}

bool loaded(const System& system) { return exists(system, "sys/module/llmos"); }

// Where DKMS and "make modules_install" put it.
bool installed(const System& system) {
  for (const char* folder : {"updates/dkms", "updates", "extra", "updates/kmod"})
    for (const char* suffix : {"", ".xz", ".zst", ".gz"})
      if (exists(system, fs::path("lib/modules") / system.release / folder / (std::string("llmos.ko") + suffix)))
        return true;
  return false;
}

Check check_kernel(const System& system) {
  int major = 0, minor = 0;
  std::sscanf(system.release.c_str(), "%d.%d", &major, &minor);
  const std::string found = "Linux " + system.release;
  if (major > 6 || (major == 6 && minor >= 12)) return {"kernel", Level::ok, found, ""};
  return {"kernel", Level::fail, found, "the module needs Linux 6.12 or newer: install a newer kernel and boot it"};
}

Check check_module(const System& system) {
  if (loaded(system)) return {"module", Level::ok, "loaded", ""};
  if (installed(system))
    return {"module", Level::fail, "installed for this kernel, but not loaded",
            "run \"modprobe llmos\"; \"dmesg\" says why it fails"};
  return {
      "module", Level::fail, "not built for this kernel",
      fmt::format("install linux-headers-{} and run \"dkms autoinstall\"; \"dkms status llmos\" shows what there is",
                  system.release)};
}

Check check_version(const System& system) {
  const std::string module = read(system, "sys/fs/llmos/version");
  const std::string found =
      fmt::format("library {}, module {}", system.library_version, module.empty() ? "none" : module);
  if (module.empty() || module == system.library_version) return {"version", Level::ok, found, ""};
  return {"version", Level::warn, found, "they work together if \"abi\" is ok; install the same version of both"};
}

// Secure Boot itself is no trouble; a kernel that takes signed modules only is, as long as ours is not signed.
Check check_signing(const System& system) {
  const std::string lockdown = chosen(read(system, "sys/kernel/security/lockdown"));
  const bool enforced =
      read(system, "sys/module/module/parameters/sig_enforce") == "Y" || (!lockdown.empty() && lockdown != "none");
  const std::string boot = read(system, "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c");
  const std::string found =
      fmt::format("Secure Boot {}, lockdown {}, {}", !boot.empty() && boot.back() == 1 ? "on" : "off",
                  lockdown.empty() ? "none" : lockdown,
                  enforced ? "only signed modules are loaded" : "unsigned modules are loaded");
  if (!enforced || loaded(system)) return {"signing", Level::ok, found, ""};
  return {
      "signing", Level::warn, found,
      "let the machine trust the key that DKMS signs with: \"mokutil --import /var/lib/dkms/mok.pub\", then reboot"};
}

Check check_abi(const System& system) {
  try {
    const llmos::StoreInfo info = system.query();
    return {"abi", Level::ok, fmt::format("version {}, features {:#x}", info.abi, info.features), ""};
  } catch (const llmos::Error& error) {
    if (error.code() == EACCES)
      return {"abi", Level::warn, "cannot be asked without the right to use /dev/llmos", "see \"access\""};
    return {"abi", Level::fail, error.what(),
            error.code() == ENODEV ? "see \"module\"" : "install the same version of module and library"};
  }
}

Check check_device(const System& system) {
  struct stat status;
  if (::stat((system.root / "dev/llmos").c_str(), &status) != 0)
    return {"device", Level::fail, "there is no /dev/llmos",
            loaded(system) ? "udev did not make it: is /dev a devtmpfs?" : "see \"module\""};
  const unsigned mode = status.st_mode & 0777;
  const std::string group = group_name(status.st_gid);
  const std::string found = fmt::format("/dev/llmos has mode {:04o} and group {}", mode, group);
  if (mode & 07)
    return {"device", Level::warn, found,
            "anybody may load and remove models: install the udev rule, and run \"udevadm trigger /dev/llmos\""};
  if (group != "llmos" || (mode & 060) != 060)
    return {"device", Level::warn, found,
            "only root may load models: install the udev rule and the group \"llmos\", and run \"udevadm trigger "
            "/dev/llmos\""};
  return {"device", Level::ok, found, ""};
}

// The members that /etc/group names; a login that is older than the entry does not have it yet.
bool member_by_file(const System& system) {
  std::istringstream lines(read(system, "etc/group"));
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("llmos:")) continue;
    const std::string members = "," + line.substr(line.find_last_of(':') + 1) + ",";
    return members.find("," + system.user + ",") != members.npos;
  }
  return false;
}

Check check_access(const System& system) {
  if (system.superuser) return {"access", Level::ok, "root may use /dev/llmos", ""};
  if (std::find(system.groups.begin(), system.groups.end(), "llmos") != system.groups.end())
    return {"access", Level::ok, system.user + " is in the group llmos", ""};
  if (member_by_file(system))
    return {"access", Level::warn, system.user + " was added to the group llmos after logging in", "log in again"};
  return {"access", Level::warn,
          system.user + " is not in the group llmos: can open models, but not load or manage them",
          fmt::format("if that is not enough: \"adduser {} llmos\", and log in again", system.user)};
}

Check check_mount(const System& system) {
  std::istringstream mounts(read(system, "proc/self/mounts"));
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string source, target, type;
    fields >> source >> target >> type;
    if (type == LLMOS_MODELS_FSTYPE && target == std::string("/") + kModels)
      return {"models", Level::ok, "mounted on " + target, ""};
  }
  if (!exists(system, kModels))
    return {"models", Level::fail, fmt::format("there is no /{}", kModels), "see \"module\""};
  return {"models", Level::fail, fmt::format("nothing is mounted on /{}", kModels),
          fmt::format("run \"systemctl start sys-fs-llmos-models.mount\", or \"mount -t {0} {0} /{1}\"",
                      LLMOS_MODELS_FSTYPE, kModels)};
}

// Models work without it; limits of device memory and time do not.
Check check_groups(const System& system) {
  constexpr char kGroups[] = "sys/fs/llmos/groups";
  std::istringstream mounts(read(system, "proc/self/mounts"));
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string source, target, type;
    fields >> source >> target >> type;
    if (type == LLMOS_GROUPS_FSTYPE && target == std::string("/") + kGroups)
      return {"groups", Level::ok, "mounted on " + target, ""};
  }
  if (!exists(system, kGroups))
    return {"groups", Level::warn, fmt::format("there is no /{}", kGroups),
            "see \"module\"; one older than this program knows no groups"};
  return {"groups", Level::warn, fmt::format("nothing is mounted on /{}: nobody can set limits on devices", kGroups),
          fmt::format("run \"systemctl start sys-fs-llmos-groups.mount\", or \"mount -t {0} {0} /{1}\"",
                      LLMOS_GROUPS_FSTYPE, kGroups)};
}

Check check_btf(const System& system) {
  if (!exists(system, "sys/kernel/btf/vmlinux"))
    return {"btf", Level::warn, "this kernel has no type information",
            "policies need it: boot a kernel built with CONFIG_DEBUG_INFO_BTF"};
  if (exists(system, "sys/kernel/btf/llmos")) return {"btf", Level::ok, "policies can be attached", ""};
  if (!loaded(system)) return {"btf", Level::ok, "the kernel has type information", ""};
  return {"btf", Level::warn, "the module was built without type information: policies cannot be attached",
          "rebuild it against kernel headers that carry vmlinux and resolve_btfids (Debian's do)"};
}

// What to look at when the store does not answer.
std::string why_silent(const llmos::Error& error) {
  if (error.code() == EACCES) return "see \"access\"";
  return error.code() == ENODEV ? "see \"module\"" : "see \"abi\"";
}

// "max" is no limit.
uint64_t bytes_of(const std::string& text) { return text == "max" ? INT64_MAX : parse_bytes(text); }

Check judge_limit(uint64_t current, uint64_t most, const std::string& models) {
  const std::string found = fmt::format("{} of {} in use{}", human_bytes(current), human_bytes(most), models);
  if (current <= most / 10 * 9) return {"limit", Level::ok, found, ""};
  return {"limit", Level::warn, found, "remove models, make idle ones evictable, or raise /sys/fs/llmos/memory.max"};
}

// Of the store, or, without the right to ask it, what everybody may read.
Check check_limit(const System& system) {
  try {
    const llmos::StoreInfo info = system.query();
    return judge_limit(info.memory_current, info.memory_max, fmt::format(" by {} models", info.models));
  } catch (const llmos::Error& error) {
    const std::string current = read(system, "sys/fs/llmos/memory.current"),
                      most = read(system, "sys/fs/llmos/memory.max");
    if (!current.empty() && !most.empty()) return judge_limit(bytes_of(current), bytes_of(most), "");
    return {"limit", Level::warn, "not known: the store cannot be asked", why_silent(error)};
  }
}

// Free memory, and what of it lies in whole blocks of 2 MiB; from /proc/buddyinfo: free blocks of 2^0, 2^1, ... pages.
Check check_huge_pages(const System& system) {
  constexpr unsigned kHugeOrder = 9;
  uint64_t free = 0, huge = 0;
  std::istringstream zones(read(system, "proc/buddyinfo"));
  for (std::string line; std::getline(zones, line);) {
    std::istringstream fields(line.substr(std::min(line.find("zone"), line.size())));
    std::string word, zone;
    fields >> word >> zone;
    uint64_t blocks = 0;
    for (unsigned order = 0; fields >> blocks; ++order) {
      const uint64_t bytes = blocks << (order + 12);
      free += bytes;
      if (order >= kHugeOrder) huge += bytes;
    }
  }
  const std::string found = fmt::format("{} of {} free lie in 2 MiB blocks", human_bytes(huge), human_bytes(free));
  if (!free || huge >= free / 4) return {"pages", Level::ok, found, ""};
  return {"pages", Level::warn, found,
          "memory is fragmented, and loading will be slow: \"echo 1 > /proc/sys/vm/compact_memory\", or load models "
          "early after boot"};
}

Check check_thp(const System& system) {
  const std::string shmem = chosen(read(system, "sys/kernel/mm/transparent_hugepage/shmem_enabled"));
  if (shmem.empty())
    return {"thp", Level::warn, "this kernel has no transparent huge pages", "only the in-process store misses them"};
  if (shmem == "deny")
    return {"thp", Level::warn, "shmem_enabled is deny",
            "only the in-process store needs it: \"echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled\""};
  return {"thp", Level::ok, fmt::format("shmem_enabled is {} (models in the kernel do not depend on it)", shmem), ""};
}

Check check_memory(const System& system) {
  const uint64_t available = system.available_memory();
  const std::string found = fmt::format("{} can be had by a load from here", human_bytes(available));
  if (available >= uint64_t{256} << 20) return {"memory", Level::ok, found, ""};
  return {"memory", Level::warn, found, "free memory, or raise memory.max of this cgroup: a load is charged to it"};
}

Check check_numa(const System&) {
  std::string found;
  for (const llmos::Node& node : llmos::nodes())
    found += fmt::format("{}node {}: {} CPUs, {} of {} free", found.empty() ? "" : "; ", node.id, node.cpus,
                         human_bytes(node.free), human_bytes(node.bytes));
  return {"numa", Level::ok, found, ""};
}

Check check_keyring(const System& system) {
  bool required = false;
  try {
    required = system.query().signature_required;
  } catch (const llmos::Error& error) {
    const std::string parameter = read(system, "sys/module/llmos/parameters/signature_required");
    required = parameter == "Y";
    if (parameter.empty())
      return {"signatures", Level::warn, "not known whether models need one: the store cannot be asked",
              why_silent(error)};
  }
  if (!required) return {"signatures", Level::ok, "not required of models", ""};
  // A line of /proc/keys ends with the keyring's name and how many keys it has.
  const bool empty = read(system, "proc/keys").find(".llmos: empty") != std::string::npos;
  if (!empty) return {"signatures", Level::ok, "required of every model", ""};
  return {"signatures", Level::warn, "required of every model, but no certificate is trusted",
          "add one to the keyring .llmos: \"keyctl padd asymmetric '' %:.llmos < certificate.der\""};
}

}  // namespace

std::vector<Check> examine(const System& system) {
  std::vector<Check> checks;
  for (auto check :
       {check_kernel, check_module, check_version, check_signing, check_abi, check_device, check_access, check_mount,
        check_groups, check_btf, check_limit, check_huge_pages, check_thp, check_memory, check_numa, check_keyring})
    checks.push_back(check(system));
  return checks;
}

System this_system() {
  System system;
  utsname names{};
  ::uname(&names);
  system.release = names.release;
  system.library_version = llmos::version();
  system.user = user_name(::geteuid());
  system.superuser = ::geteuid() == 0;
  std::vector<gid_t> groups(static_cast<size_t>(std::max(0, ::getgroups(0, nullptr))));
  ::getgroups(static_cast<int>(groups.size()), groups.data());
  groups.push_back(::getegid());
  for (gid_t group : groups) system.groups.push_back(group_name(group));
  system.query = [] { return llmos::Store::kernel().info(); };
  system.available_memory = [] { return llmos::Store::memory().info().memory_max; };
  return system;
}

}  // namespace llmosctl
