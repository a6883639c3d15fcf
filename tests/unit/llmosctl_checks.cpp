// SPDX-License-Identifier: MIT
// llmosctl doctor, shown machines that are ill in one way each.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include "checks.hpp"
#include "store_support.hpp"

namespace llmosctl {
namespace {

namespace fs = std::filesystem;

class Doctor : public testing::Test {
 protected:
  // A machine on which all is well.
  void SetUp() override {
    system_.root = dir_.path();
    system_.release = "6.12.43-amd64";
    system_.library_version = "0.1.0";
    system_.user = "alice";
    system_.groups = {"alice", "llmos"};
    system_.query = [this] { return info_; };
    system_.available_memory = [] { return uint64_t{8} << 30; };
    info_.abi = 1;
    info_.memory_max = uint64_t{16} << 30;
    info_.memory_current = uint64_t{3} << 30;
    put("sys/module/llmos/refcnt", "0");
    put("sys/fs/llmos/version", "0.1.0\n");
    put("sys/fs/llmos/models/x", "");
    put("sys/kernel/btf/vmlinux", "");
    put("sys/kernel/btf/llmos", "");
    put("sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
    put("sys/module/module/parameters/sig_enforce", "N\n");
    put("sys/kernel/mm/transparent_hugepage/shmem_enabled", "always within_size [advise] never deny force\n");
    put("proc/self/mounts", "sysfs /sys sysfs rw 0 0\nllmos_models /sys/fs/llmos/models llmos_models ro 0 0\n"
        "llmos_groups /sys/fs/llmos/groups llmos_groups rw 0 0\n");
    put("proc/buddyinfo", "Node 0, zone   Normal   100   0   0   0   0   0   0   0   0   50   500\n");
    put("etc/group", "root:x:0:\nllmos:x:99:alice\n");
  }

  void put(const fs::path& path, const std::string& text) {
    fs::create_directories((system_.root / path).parent_path());
    std::ofstream(system_.root / path) << text;
  }
  void drop(const fs::path& path) { fs::remove_all(system_.root / path); }

  Check check(const std::string& what) const {
    for (const Check& check : examine(system_))
      if (check.what == what) return check;
    return {};
  }

  void expect(const std::string& what, Level level, const std::string& part) const {
    const Check found = check(what);
    EXPECT_EQ(found.level, level) << what << ": " << found.found << " -> " << found.advice;
    EXPECT_NE((found.found + " " + found.advice).find(part), std::string::npos)
        << found.found << " -> " << found.advice;
    EXPECT_EQ(found.advice.empty(), level == Level::ok) << found.advice;
  }

  const llmos::test::TempDir dir_;
  System system_;
  llmos::StoreInfo info_;
};

TEST_F(Doctor, finds_a_healthy_machine_healthy) {
  // A temporary directory has no device node in it.
  for (const Check& check : examine(system_))
    if (check.what != "device") {
      EXPECT_EQ(check.level, Level::ok) << check.what << ": " << check.found;
    }
}

TEST_F(Doctor, names_every_check_once) {
  std::vector<std::string> names;
  for (const Check& check : examine(system_)) names.push_back(check.what);
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  EXPECT_EQ(names.size(), 16u);
}

TEST_F(Doctor, sees_an_old_kernel) {
  system_.release = "6.1.0-28-amd64";
  expect("kernel", Level::fail, "6.12 or newer");
  system_.release = "6.12.0";
  expect("kernel", Level::ok, "6.12.0");
  system_.release = "7.0-rc1";
  expect("kernel", Level::ok, "7.0");
}

TEST_F(Doctor, tells_a_module_not_built_from_one_not_loaded) {
  drop("sys/module/llmos");
  expect("module", Level::fail, "install linux-headers-6.12.43-amd64");
  put("lib/modules/6.12.43-amd64/updates/dkms/llmos.ko.xz", "");
  expect("module", Level::fail, "modprobe llmos");
}

TEST_F(Doctor, sees_module_and_library_of_different_versions) {
  put("sys/fs/llmos/version", "0.2.0\n");
  expect("version", Level::warn, "library 0.1.0, module 0.2.0");
}

TEST_F(Doctor, minds_signatures_of_modules_only_while_ours_is_not_loaded) {
  put("sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
  expect("signing", Level::ok, "only signed modules");
  drop("sys/module/llmos");
  expect("signing", Level::warn, "mokutil --import");
  put("sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
  expect("signing", Level::ok, "unsigned modules");
  put("sys/module/module/parameters/sig_enforce", "Y\n");
  expect("signing", Level::warn, "mokutil --import");
}

TEST_F(Doctor, sees_secure_boot) {
  put("sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", std::string("\6\0\0\0\1", 5));
  expect("signing", Level::ok, "Secure Boot on");
}

TEST_F(Doctor, passes_on_why_the_module_does_not_answer) {
  system_.query = []() -> llmos::StoreInfo { throw llmos::Error(EPROTO, "does not speak version 1"); };
  expect("abi", Level::fail, "does not speak version 1");
  system_.query = []() -> llmos::StoreInfo { throw llmos::Error(EACCES, "no right"); };
  expect("abi", Level::warn, "access");
}

TEST_F(Doctor, looks_at_the_rights_of_the_device) {
  expect("device", Level::fail, "no /dev/llmos");
  put("dev/llmos", "");  // a plain file has rights just as well
  fs::permissions(dir_ / "dev/llmos", fs::perms(0666));
  expect("device", Level::warn, "anybody");
  fs::permissions(dir_ / "dev/llmos", fs::perms(0600));
  expect("device", Level::warn, "only root");
}

TEST_F(Doctor, knows_who_may_load) {
  expect("access", Level::ok, "in the group");
  system_.groups = {"alice"};
  expect("access", Level::warn, "log in again");
  put("etc/group", "llmos:x:99:malice,alices\n");
  expect("access", Level::warn, "adduser alice llmos");
  system_.superuser = true;
  expect("access", Level::ok, "root");
}

TEST_F(Doctor, sees_a_missing_mount) {
  put("proc/self/mounts", "tmpfs /sys/fs/llmos/models tmpfs rw 0 0\nllmos_models /elsewhere llmos_models ro 0 0\n");
  expect("models", Level::fail, "mount -t llmos_models");
  drop("sys/fs/llmos");
  expect("models", Level::fail, "there is no /sys/fs/llmos/models");
}

TEST_F(Doctor, sees_missing_groups) {
  expect("groups", Level::ok, "mounted");
  put("sys/fs/llmos/groups/x", "");
  put("proc/self/mounts", "llmos_groups /elsewhere llmos_groups rw 0 0\n");
  expect("groups", Level::warn, "mount -t llmos_groups");
  drop("sys/fs/llmos/groups");
  expect("groups", Level::warn, "older");
}

TEST_F(Doctor, sees_missing_type_information) {
  drop("sys/kernel/btf/llmos");
  expect("btf", Level::warn, "rebuild");
  drop("sys/kernel/btf/vmlinux");
  expect("btf", Level::warn, "CONFIG_DEBUG_INFO_BTF");
}

TEST_F(Doctor, does_not_claim_what_only_the_store_knows) {
  system_.query = []() -> llmos::StoreInfo { throw llmos::Error(ENODEV, "no module"); };
  for (const char* what : {"limit", "signatures"}) expect(what, Level::warn, "not known");
  expect("limit", Level::warn, "see \"module\"");
  system_.query = []() -> llmos::StoreInfo { throw llmos::Error(EACCES, "no right"); };
  expect("signatures", Level::warn, "see \"access\"");
}

TEST_F(Doctor, reads_what_everybody_may_read_of_the_store) {
  system_.query = []() -> llmos::StoreInfo { throw llmos::Error(EACCES, "no right"); };
  put("sys/fs/llmos/memory.current", "1048576\n");
  put("sys/fs/llmos/memory.max", "max\n");
  put("sys/module/llmos/parameters/signature_required", "N\n");
  expect("limit", Level::ok, "1.0 MiB of");
  expect("signatures", Level::ok, "not required");
  put("sys/fs/llmos/memory.max", "1048577\n");
  put("sys/module/llmos/parameters/signature_required", "Y\n");
  put("proc/keys", "1f0e I------     1 perm 1f0b0000     0     0 keyring   .llmos: empty\n");
  expect("limit", Level::warn, "memory.max");
  expect("signatures", Level::warn, "keyctl padd");
}

TEST_F(Doctor, sees_a_limit_that_is_nearly_reached) {
  info_.memory_current = info_.memory_max / 100 * 95;
  expect("limit", Level::warn, "memory.max");
}

TEST_F(Doctor, sees_fragmented_memory) {
  put("proc/buddyinfo", "Node 0, zone   Normal   90000   9000   0   0   0   0   0   0   0   1   0\n");
  expect("pages", Level::warn, "compact_memory");
}

TEST_F(Doctor, sees_denied_huge_pages) {
  put("sys/kernel/mm/transparent_hugepage/shmem_enabled", "always within_size advise never [deny] force\n");
  expect("thp", Level::warn, "deny");
}

TEST_F(Doctor, sees_a_tight_cgroup) {
  system_.available_memory = [] { return uint64_t{10} << 20; };
  expect("memory", Level::warn, "10.0 MiB");
}

TEST_F(Doctor, sees_that_no_signature_can_be_good) {
  info_.signature_required = true;
  put("proc/keys", "1f0e I------     1 perm 1f0b0000     0     0 keyring   .llmos: empty\n");
  expect("signatures", Level::warn, "keyctl padd");
  put("proc/keys", "1f0e I------     1 perm 1f0b0000     0     0 keyring   .llmos: 1\n");
  expect("signatures", Level::ok, "required");
}

}  // namespace
}  // namespace llmosctl
