// SPDX-License-Identifier: MIT
// llmosctl policy: those that the tests compiled, those that were installed, and the scheduler of CPUs.
#include <chrono>

#include "llmosctl_machine.hpp"

namespace llmos::test {
namespace {

namespace fs = std::filesystem;

const fs::path kInstalled = "/usr/lib/llmos/policies", kBpf = "/sys/fs/bpf", kSchedExt = "/sys/kernel/sched_ext";

class LlmosctlPolicy : public Llmosctl {
 protected:
  void SetUp() override {
    Llmosctl::SetUp();
    if (IsSkipped()) return;
    if (shell("command -v bpftool").status) GTEST_SKIP() << "no bpftool here";
    if (slurp("/sys/fs/llmos/hooks/available") != "1\n") GTEST_SKIP() << "no BTF";
    if (!fs::exists("/mnt/policies")) GTEST_SKIP() << "no policies were brought here";
  }

  Result policy(const std::string& arguments) const {
    return shell("LLMOS_POLICIES=/mnt/policies llmosctl " + arguments);
  }

  static json one_of(const Result& list, const std::string& name) {
    const json all = json::parse(list.out);
    for (const json& one : all["policies"])
      if (one["name"] == name) return one;
    return {};
  }
  json listed(const std::string& name) const { return one_of(policy("--json policy ls"), name); }
  uint64_t answered() const { return json::parse(policy("--json policy ls").out)["hooks"][0]["answered"]; }

  // Whether lanes' turns are asked of a policy, which all of ours for lanes answer.
  bool asked() const {
    const uint64_t before = answered();
    LaneHolder holder;
    return answered() > before;
  }
};

TEST_F(LlmosctlPolicy, attaches_and_detaches) {
  EXPECT_EQ(listed("shortest")["programs"], json::array());

  EXPECT_SUCCESS(policy("policy attach shortest --closed"));
  EXPECT_EQ(listed("shortest")["open"], false);
  EXPECT_FALSE(listed("shortest")["programs"].empty());
  EXPECT_COMPLAINT("attached already", policy("policy attach shortest"));
  LaneHolder holder;
  Lane other("ctl0", {.cost = std::chrono::milliseconds(5)});
  const uint64_t before = answered();
  other.acquire();
  EXPECT_EQ(answered(), before);
  EXPECT_SUCCESS(policy("policy open shortest"));
  other.release();
  other.acquire();
  EXPECT_EQ(answered(), before + 1);
  EXPECT_SUCCESS(policy("policy close shortest"));
  other.release();
  other.acquire();
  EXPECT_EQ(answered(), before + 1);
  EXPECT_SUCCESS(policy("policy detach shortest"));
  EXPECT_EQ(listed("shortest")["programs"], json::array());
  EXPECT_SUCCESS(policy("policy attach shortest"));
  EXPECT_EQ(listed("shortest")["open"], true);
  const Result table = policy("policy ls");
  EXPECT_NE(table.out.find("lane_key"), std::string::npos) << table.out;
  EXPECT_NE(table.out.find("open"), std::string::npos) << table.out;
  EXPECT_SUCCESS(policy("policy detach shortest"));
  EXPECT_COMPLAINT("is not attached", policy("policy detach shortest"));
  EXPECT_COMPLAINT("there is no", policy("policy attach no_such_policy"));
  const std::string bad = dir_.write("bad.bpf.o", pattern(1000));
  EXPECT_COMPLAINT("failed", policy("policy attach " + bad));
  EXPECT_COMPLAINT("is not attached", policy("policy detach bad"));  // nothing is left of it
}

// ---- those of "cmake --install" ----

class LlmosctlInstalled : public LlmosctlPolicy {
 protected:
  void SetUp() override {
    LlmosctlPolicy::SetUp();
    if (!IsSkipped() && !fs::exists(kInstalled))
      GTEST_SKIP() << "no policies were installed: clang, llvm and libbpf-dev were missing where this was built";
  }
};

TEST_F(LlmosctlInstalled, are_found_by_name) {
  size_t attached = 0;
  for (const auto& entry : fs::directory_iterator(kInstalled)) {
    const std::string file = entry.path().filename(), name = file.substr(0, file.find('.'));
    SCOPED_TRACE(name);
    EXPECT_EQ(one_of(ctl("--json policy ls"), name)["installed"], true);
    if (name.starts_with("scx_") && !fs::exists(kSchedExt)) continue;
    EXPECT_SUCCESS(ctl("policy attach " + name));
    EXPECT_FALSE(one_of(ctl("--json policy ls"), name)["programs"].empty());
    if (name == "fair") {
      EXPECT_TRUE(asked());
    }
    EXPECT_SUCCESS(ctl("policy detach " + name));
    attached++;
  }
  EXPECT_GE(attached, 6u);
}

// As /usr/local is, or /opt.
TEST_F(LlmosctlInstalled, are_looked_for_beside_the_program) {
  const std::string prefix = dir_ / "prefix";
  EXPECT_SUCCESS(shell("mkdir -p " + prefix + "/bin " + prefix + "/lib/llmos/policies && cp $(command -v llmosctl) " +
                       prefix + "/bin/ && cp " + (kInstalled / "shortest.bpf.o").native() + " " + prefix +
                       "/lib/llmos/policies/"));
  const Result list = shell(prefix + "/bin/llmosctl --json policy ls");
  EXPECT_EQ(one_of(list, "shortest")["installed"], true) << list.out << list.error;
  EXPECT_TRUE(one_of(list, "fair").is_null()) << "not of this prefix";
  EXPECT_SUCCESS(shell(prefix + "/bin/llmosctl policy attach shortest"));
  EXPECT_TRUE(asked());
  EXPECT_SUCCESS(shell(prefix + "/bin/llmosctl policy detach shortest"));
}

// ---- the scheduler of CPUs ----

bool have_sched_ext() { return fs::exists(kSchedExt / "state"); }

TEST_F(LlmosctlPolicy, says_where_there_is_no_sched_ext) {
  if (have_sched_ext()) GTEST_SKIP() << "this kernel has sched_ext";
  EXPECT_COMPLAINT("built without sched_ext", policy("policy attach scx_llmos"));
  EXPECT_EQ(listed("scx_llmos")["programs"], json::array());
  EXPECT_FALSE(fs::exists(kBpf / "llmos_scx_knobs"));
}

class LlmosctlScheduler : public LlmosctlPolicy {
 protected:
  void SetUp() override {
    LlmosctlPolicy::SetUp();
    if (!IsSkipped() && !have_sched_ext()) GTEST_SKIP() << "this kernel was built without sched_ext";
  }
  void TearDown() override {
    if (fs::exists(kBpf / "llmos/scx_llmos")) policy("policy detach scx_llmos");
    LlmosctlPolicy::TearDown();
  }
  static std::string state() { return slurp(kSchedExt / "state"); }
};

TEST_F(LlmosctlScheduler, is_attached_and_detached_like_any_policy) {
  for (int round = 0; round < 2; ++round) {
    EXPECT_SUCCESS(policy("policy attach scx_llmos"));
    EXPECT_EQ(state(), "enabled\n");
    EXPECT_EQ(slurp(kSchedExt / "root/ops"), "llmos\n");
    EXPECT_FALSE(listed("scx_llmos")["programs"].empty());
    EXPECT_EQ(listed("scx_llmos")["open"], nullptr);
    EXPECT_EQ(listed("scx_llmos")["ended"], nullptr);
    EXPECT_TRUE(fs::exists(kBpf / "llmos_scx_knobs"));
    EXPECT_COMPLAINT("attached already", policy("policy attach scx_llmos"));
    EXPECT_COMPLAINT("has no gate", policy("policy close scx_llmos"));
    EXPECT_SUCCESS(policy("policy detach scx_llmos"));
    EXPECT_EQ(state(), "disabled\n") << "before detach ends";
    EXPECT_FALSE(fs::exists(kBpf / "llmos_scx_knobs")) << "settings are forgotten";
    EXPECT_EQ(listed("scx_llmos")["programs"], json::array());
    EXPECT_COMPLAINT("is not attached", policy("policy detach scx_llmos"));
  }
}

TEST_F(LlmosctlScheduler, is_the_only_one) {
  const std::string other = dir_ / "scx_other.bpf.o";
  fs::copy_file("/mnt/policies/scx_llmos.bpf.o", other);
  EXPECT_SUCCESS(policy("policy attach scx_llmos"));
  EXPECT_COMPLAINT("\"llmos\" is attached, and there can be only one", policy("policy attach " + other));
  EXPECT_EQ(state(), "enabled\n");
  EXPECT_TRUE(fs::exists(kBpf / "llmos_scx_knobs"));
}

TEST_F(LlmosctlScheduler, that_the_kernel_threw_out_says_why) {
  EXPECT_SUCCESS(policy("policy attach scx_llmos"));
  EXPECT_SUCCESS(shell("echo S >/proc/sysrq-trigger"));  // "back to the kernel's own scheduler"
  for (int i = 0; i < 100 && state() != "disabled\n"; ++i) ::usleep(100'000);
  EXPECT_NE(listed("scx_llmos")["ended"].dump().find("sysrq"), std::string::npos) << listed("scx_llmos");
  EXPECT_NE(policy("policy ls").out.find("(ended: "), std::string::npos);
  EXPECT_COMPLAINT("the kernel has ended it", policy("policy attach scx_llmos"));
  EXPECT_SUCCESS(policy("policy detach scx_llmos"));
  EXPECT_SUCCESS(policy("policy attach scx_llmos"));
  EXPECT_EQ(state(), "enabled\n");
}

}  // namespace
}  // namespace llmos::test
