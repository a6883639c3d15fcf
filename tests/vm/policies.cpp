// SPDX-License-Identifier: MIT
// The policies that come with llmos, and every command of their page.
#include <algorithm>
#include <fstream>
#include <sstream>

#include "policy.hpp"
#include "process.hpp"

namespace llmos::guest {
namespace {

class Policies : public ModuleTest {
 protected:
  void SetUp() override {
    ModuleTest::SetUp();
    if (!have_policies()) GTEST_SKIP() << "no policies, bpftool or BTF";
  }
};

// The order in which lanes that asked while another had the turn come to theirs.
std::vector<size_t> order_of(const TestDevice& test, const std::vector<LaneOptions>& lanes) {
  const Lane first(test);
  if (first.acquire()) throw_errno("acquire");
  std::vector<Lane> waiting;
  for (const auto& options : lanes) {
    waiting.emplace_back(test, options);
    waiting.back().try_acquire();
  }
  first.release();
  std::vector<size_t> order;
  while (order.size() < waiting.size()) {
    const auto holder =
        std::find_if(waiting.begin(), waiting.end(), [](auto& lane) { return lane.state() == LLMOS_LANE_HOLDING; });
    if (holder == waiting.end()) break;
    order.push_back(static_cast<size_t>(holder - waiting.begin()));
    holder->release();
  }
  return order;
}

std::string name_key(std::string name) {
  std::string text;
  name.resize(32);
  for (const unsigned char c : name) text += std::to_string(c) + " ";
  return text;
}

// The blocks of a page, one script.
void run_page(const std::string& page, const std::string& begin) {
  std::ifstream page_file(page);
  std::string line, script = "set -euo pipefail\n" + begin + "\n";
  int blocks = 0;
  for (bool inside = false; std::getline(page_file, line);) {
    if (line.starts_with("```")) {
      blocks += line == "```sh";
      inside = line == "```sh";
    } else if (inside) {
      script += line + "\n";
    }
  }
  ASSERT_GT(blocks, 8);
  std::ofstream("/tmp/page.sh") << script;
  const auto output = shell("bash -x /tmp/page.sh 2>&1");
  EXPECT_EQ(output.status, 0) << output.text;
  EXPECT_EQ(must_shell("ls " + pins_dir), "");
  shell("rm -rf " + pins_dir + "*");  // what a command that failed has left
}

TEST_F(Policies, EveryCommandOfThePage) { run_page(policies_dir + "README.md", "P=" + policies_dir); }

// As whoever ran "cmake --install" reads it, with what that has put where the page says.
TEST_F(Policies, EveryCommandOfTheInstalledPage) {
  if (!exists("/usr/lib/llmos/policies"))
    GTEST_SKIP() << "no policies were installed: clang, llvm and libbpf-dev were missing where this was built";
  run_page("/usr/share/doc/llmos/policies.md", "unset P");
}

TEST_F(Policies, GateKeepsThemQuiet) {
  const Policy policy("shortest");
  const TestDevice test;
  const uint64_t answered = hook_count("lane_key", "answered");
  EXPECT_EQ(order_of(test, {{.cost_ns = 3 * ms}, {.cost_ns = 1 * ms}}), (std::vector<size_t>{0, 1}));
  EXPECT_EQ(hook_count("lane_key", "answered"), answered);
}

TEST_F(Policies, FairSharesByName) {
  const Setting slice(lanes_dir + "slice_us", "5000");
  const Policy policy("fair");
  policy.set("name_weight", name_key("large"), "44 1 0 0");  // 300
  policy.open_gate();
  const TestDevice test;
  Crowd crowd;
  for (int i = 0; i < 4; i++) crowd.add(Lane(test, {.name = "large"}));
  for (int i = 0; i < 12; i++) crowd.add(Lane(test, {.name = "small"}));
  crowd.enter_all();
  crowd.run(30 * second, 5 * ms);
  const auto large = static_cast<double>(crowd.used(0, 4)), all = static_cast<double>(crowd.used(0, 16));
  EXPECT_NEAR(100 * large / all, 75, 1.5);
}

TEST_F(Policies, DeadlineServesTheEarliestFirst) {
  const Policy policy("deadline");
  policy.set("class_ns", "1 0 0 0", bytes_of(2 * second));
  policy.open_gate();
  const TestDevice test;
  EXPECT_EQ(order_of(test, {{}, {.deadline_ns = 5 * second}, {.lane_class = 1}, {.deadline_ns = 1 * second}}),
            (std::vector<size_t>{3, 2, 1, 0}));
}

TEST_F(Policies, ShortestServesTheCheapestFirstUnlessItWaited) {
  const Policy policy("shortest");
  policy.open_gate();
  const TestDevice test;
  EXPECT_EQ(order_of(test, {{.cost_ns = 30 * ms}, {.cost_ns = 10 * ms}, {.cost_ns = 20 * ms}}),
            (std::vector<size_t>{1, 2, 0}));
  policy.set("knobs", bytes_of(1'000'000) + bytes_of(0));  // a thousandfold: first come first served
  EXPECT_EQ(order_of(test, {{.cost_ns = 30}, {.cost_ns = 10}, {.cost_ns = 20}}), (std::vector<size_t>{0, 1, 2}));
}

TEST_F(Policies, PriorityServesInteractiveLanesFirst) {
  const Policy policy("priority");
  policy.set("knobs", bytes_of(3, 4) + bytes_of(2, 4) + bytes_of(20 * ms));
  policy.open_gate();
  const TestDevice test;
  EXPECT_EQ(order_of(test, {{}, {.lane_class = 2}, {}, {.lane_class = 9}}), (std::vector<size_t>{3, 1, 0, 2}));
  const Lane batch(test), interactive(test, {.lane_class = 2});
  ASSERT_OK(batch.acquire());
  EXPECT_EQ(batch.stat().slice_ns, 20 * ms);
  ASSERT_OK(batch.release());
  ASSERT_OK(interactive.acquire());
  EXPECT_EQ(interactive.stat().slice_ns, 50 * ms);
}

TEST_F(Policies, CacheEvictsTheLargestOfEquallyIdleModels) {
  const Policy policy("cache");
  policy.set("knobs", bytes_of(1, 4) + bytes_of(0, 4) + bytes_of(0, 4) + bytes_of(0, 4));
  policy.open_gate();
  const auto flags = Make{.flags = LLMOS_MODEL_EVICTABLE};
  make_model("small", huge_page, flags);
  make_model("large", 8 * huge_page, flags);
  const Setting limit(memory_max_file, std::to_string(memory_current()));
  EXPECT_OK(close(create("other", huge_page).release()));
  EXPECT_EQ(stat_of("large").state, static_cast<uint32_t>(LLMOS_STATE_EVICTED));
  EXPECT_EQ(stat_of("small").state, static_cast<uint32_t>(LLMOS_STATE_SEALED));  // the default would have taken it
  EXPECT_OK(model_remove("large"));
  EXPECT_OK(model_remove("small"));
}

TEST_F(Policies, AuditRecordsDecisions) {
  const Policy policy("audit");
  policy.set("knobs", bytes_of(2 | 16, 4));
  const TestDevice test;
  for (int i = 0; i < 3; i++) order_of(test, {{}, {}});
  create("audited", page);
  EXPECT_NE(policy.dump("counts").find("\"recorded\":10"), std::string::npos) << policy.dump("counts");
}

}  // namespace
}  // namespace llmos::guest
