// SPDX-License-Identifier: MIT
// llmosctl audit: who decided what, while it runs; and nothing of it afterwards.
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "policy.hpp"
#include "process.hpp"

namespace llmos::guest {
namespace {

using nlohmann::json;

constexpr const char* programs[] = {"audit_key", "audit_slice", "audit_evict", "audit_admit"};

bool is_loaded(const std::string& program) { return shell("bpftool prog show name " + program).text != ""; }

bool nothing_is_loaded() {
  return std::none_of(std::begin(programs), std::end(programs), [](const char* name) { return is_loaded(name); });
}

// llmosctl audit in a process of its own, its output in a file.
class Watcher {
 public:
  explicit Watcher(const std::vector<std::string>& options) {
    const Fd out(create_output(out_)), err(create_output(err_));
    pid_ = fork();
    if (pid_ < 0) throw_errno("fork");
    if (pid_ == 0) run(options, out, err);
  }
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  ~Watcher() {
    if (pid_ > 0) end(SIGKILL);
    remove_output();
  }

  // Its wait status, once it ended by itself or by this signal; -1 when it does not end.
  int end(int signal = 0) {
    if (signal) ::kill(pid_, signal);
    int status = -1;
    if (!eventually([&] { return waitpid(pid_, &status, WNOHANG) == pid_; }, 30)) return -1;
    pid_ = -1;
    return status;
  }
  void send(int signal) const { ::kill(pid_, signal); }

  std::string text() const { return read_file(out_); }
  std::string complaints() const { return read_file(err_); }
  // The lines so far, of --json.
  std::vector<json> records() const {
    std::vector<json> records;
    std::ifstream file(out_);
    for (std::string line; std::getline(file, line) && !file.eof();) records.push_back(json::parse(line));
    return records;
  }
  std::vector<json> records(const std::string& hook, const std::string& key, const std::string& value) const {
    std::vector<json> found;
    for (const json& record : records())
      if (record.value("hook", "") == hook && record.contains(key) && record[key] == value) found.push_back(record);
    return found;
  }

  // Decides things until one of them is seen: from then on, everything is.
  void attached(const TestDevice& test) const {
    const Lane lane(test, {.name = "marker"});
    ASSERT_TRUE(eventually(
        [&] {
          lane.acquire();
          lane.release();
          return text().find("marker") != std::string::npos;
        },
        60))
        << complaints();
  }

 private:
  static int create_output(const std::string& path) {
    return open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  }
  [[noreturn]] static void run(const std::vector<std::string>& options, int out, int err) {
    std::vector<char*> argv = {const_cast<char*>("llmosctl"), const_cast<char*>("audit")};
    for (const auto& option : options) argv.push_back(const_cast<char*>(option.c_str()));
    argv.push_back(nullptr);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    setenv("LLMOS_POLICIES", policies_dir.c_str(), 1);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  void remove_output() const {
    unlink(out_.c_str());
    unlink(err_.c_str());
  }

  static inline int watchers_ = 0;
  const std::string out_ = "/tmp/audit-out-" + std::to_string(++watchers_), err_ = out_ + "-error";
  pid_t pid_ = -1;
};

std::string audit(const std::string& arguments) {
  return "LLMOS_POLICIES=" + policies_dir + " llmosctl audit " + arguments;
}

class Audit : public ModuleTest {
 protected:
  void SetUp() override {
    ModuleTest::SetUp();
    if (!have_policies() || !have_program("llmosctl")) GTEST_SKIP() << "no policies, bpftool, BTF or llmosctl";
    if (shell(audit("--count 0")).text.find("without libbpf") != std::string::npos) GTEST_SKIP() << "no libbpf";
    ASSERT_TRUE(nothing_is_loaded());
  }
  void TearDown() override {
    EXPECT_TRUE(eventually(nothing_is_loaded)) << "something stayed attached";
    ModuleTest::TearDown();
  }
};

TEST_F(Audit, TellsWhoWasAnsweredWhatAndByWhom) {
  const Cgroup cgroup("audited");
  const TestDevice test("watched");
  Watcher watcher({"--json"});
  watcher.attached(test);

  const Lane lane = in_cgroup(cgroup, [&] { return Lane(test, {.cost_ns = 30 * ms, .name = "chat"}); });
  const auto turn = [&] {
    ASSERT_OK(lane.acquire());
    ASSERT_OK(lane.release());
  };
  turn();
  {
    const Policy shortest("shortest");
    shortest.open_gate();
    turn();
  }
  {
    const Policy nonsense("nonsense");
    nonsense.set("answer", bytes_of(static_cast<uint64_t>(INT64_MIN)));
    turn();
  }
  ASSERT_TRUE(eventually([&] { return watcher.records("lane_key", "name", "chat").size() >= 3; })) << watcher.text();
  const auto keys = watcher.records("lane_key", "name", "chat"), slices = watcher.records("lane_slice", "name", "chat");
  ASSERT_EQ(keys.size(), 3u);
  EXPECT_EQ(keys[0]["verdict"], "default");
  EXPECT_EQ(keys[0]["answer"], 0);
  EXPECT_EQ(keys[1]["verdict"], "answered");
  EXPECT_NE(keys[1]["answer"], 0);
  EXPECT_EQ(keys[2]["verdict"], "refused");
  EXPECT_LE(keys[2]["answer"].get<int64_t>(), INT64_MIN + 1);
  for (const json& key : keys) {
    EXPECT_EQ(key["group"], "audited");
    EXPECT_EQ(key["group_id"], cgroup.id());
    EXPECT_EQ(key["device"], "watched");
    EXPECT_EQ(key["lane"], lane.stat().id);
    EXPECT_EQ(key["pid"], getpid());
    EXPECT_LT(std::abs(key["time_ns"].get<double>() / 1e9 - static_cast<double>(time(nullptr))), 300);
  }
  ASSERT_EQ(slices.size(), 3u);
  EXPECT_EQ(slices[0]["verdict"], "default");
  EXPECT_EQ(slices[2]["verdict"], "refused");
  EXPECT_EQ(watcher.end(SIGINT), 0) << watcher.complaints();
  EXPECT_EQ(watcher.complaints(), "");
}

TEST_F(Audit, TellsOfModelsAndCharges) {
  const TestDevice test("watched");
  Watcher watcher({"--json"});
  watcher.attached(test);
  const std::string long_name(100, 'm');
  {
    const Policy limit("limit");
    limit.set("bytes_max", bytes_of(huge_page));
    EXPECT_ERRNO(EDQUOT, model_create(long_name, huge_page + 1));
  }
  make_model("idle", huge_page, {.flags = LLMOS_MODEL_EVICTABLE});
  {
    const Setting limit(memory_max_file, std::to_string(memory_current()));
    EXPECT_OK(close(create("other", huge_page).release()));
  }
  auto charge = sized<llmos_charge>();
  strcpy(charge.id, "watched");
  charge.bytes = 12 * KiB;
  EXPECT_OK(close(command(device(), LLMOS_CHARGE_CREATE, charge)));
  ASSERT_TRUE(eventually([&] { return !watcher.records("admit", "device", "watched").empty(); })) << watcher.text();
  const auto refused = watcher.records("admit", "model", long_name),
             evicted = watcher.records("evict_score", "model", "idle"),
             charged = watcher.records("admit", "device", "watched");
  ASSERT_EQ(refused.size(), 1u);
  EXPECT_EQ(refused[0]["error"], "EDQUOT");
  EXPECT_EQ(refused[0]["bytes"], huge_page + 1);
  EXPECT_EQ(refused[0]["verdict"], "answered");
  ASSERT_FALSE(evicted.empty());
  EXPECT_EQ(evicted[0]["bytes"], huge_page);
  ASSERT_EQ(charged.size(), 1u);
  EXPECT_EQ(charged[0]["bytes"], 12 * KiB);
  EXPECT_EQ(charged[0]["verdict"], "default");
  EXPECT_OK(model_remove("idle"));
}

TEST_F(Audit, LinesForPeopleAndAsManyAsWanted) {
  const TestDevice test("watched");
  Watcher watcher({"--hook", "lane_key", "--count", "50"});
  watcher.attached(test);
  EXPECT_FALSE(is_loaded("audit_slice"));
  EXPECT_FALSE(is_loaded("audit_admit"));
  EXPECT_TRUE(is_loaded("audit_key"));
  const Lane lane(test, {.name = "chat"});
  for (int i = 0; i < 60; i++) lane.acquire(), lane.release();
  EXPECT_EQ(watcher.end(), 0);
  const std::string text = watcher.text();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 50) << text;
  EXPECT_NE(text.find(" lane_key    default  0 group="), std::string::npos) << text;
  EXPECT_NE(text.find("device=\"watched\""), std::string::npos) << text;
}

TEST_F(Audit, LeavesNothingHoweverItEnds) {
  const TestDevice test("watched");
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGKILL}) {
    Watcher watcher({});
    watcher.attached(test);
    EXPECT_TRUE(is_loaded("audit_admit"));
    EXPECT_EQ(watcher.end(signal), signal == SIGPIPE || signal == SIGKILL ? signal : 0);
    EXPECT_TRUE(eventually(nothing_is_loaded)) << "after signal " << signal;
  }
  // Nobody reads any more, and nothing is decided that could be written.
  const auto output = shell("bash -c 'set -o pipefail; timeout 60 env " + audit("") + " | true'");
  EXPECT_EQ(output.status, 128 + SIGPIPE) << output.text;
}

// Each has a ring of its own.
TEST_F(Audit, TwoMayWatch) {
  const TestDevice test("watched");
  Watcher one({"--json"}), two({"--json", "--hook", "lane_key"});
  one.attached(test);
  two.attached(test);
  const Lane lane(test, {.name = "chat"});
  for (int i = 0; i < 5; i++) lane.acquire(), lane.release();
  for (const Watcher* watcher : {&one, &two})
    EXPECT_TRUE(eventually([&] { return watcher->records("lane_key", "name", "chat").size() == 5; }))
        << watcher->text();
  EXPECT_EQ(two.end(SIGTERM), 0);
  EXPECT_TRUE(is_loaded("audit_key"));
}

TEST_F(Audit, CountsWhatCameTooFast) {
  const TestDevice test("watched");
  Watcher watcher({"--json", "--hook", "lane_key"});
  watcher.attached(test);
  watcher.send(SIGSTOP);
  const Lane lane(test, {.name = "storm"});
  constexpr uint64_t turns = 8000;  // twice what the buffer holds
  for (uint64_t i = 0; i < turns; i++) lane.acquire(), lane.release();
  watcher.send(SIGCONT);
  uint64_t lost = 0, seen = 0;
  EXPECT_TRUE(eventually(
      [&] {
        lost = seen = 0;
        for (const json& record : watcher.records()) {
          lost += record.value("lost", uint64_t{0});
          seen += record.value("name", "") == "storm";
        }
        return seen + lost == turns;
      },
      60))
      << seen << " seen and " << lost << " lost of " << turns;
  EXPECT_GT(lost, 0u);
  EXPECT_GT(seen, 1000u);
}

TEST_F(Audit, SaysWhyItCannot) {
  EXPECT_NE(shell("setpriv --reuid bob --regid bob --clear-groups env " + audit("")).text.find("needs root"),
            std::string::npos);
  EXPECT_NE(shell("LLMOS_POLICIES=/nowhere llmosctl audit").text.find("there is no /nowhere/audit.bpf.o"),
            std::string::npos);
  const Policy attached("audit");
  const auto output = shell("timeout 60 env " + audit(""));
  EXPECT_EQ(output.status, 1);
  EXPECT_NE(output.text.find("attached already"), std::string::npos) << output.text;
  EXPECT_TRUE(is_loaded("audit_key"));  // that of somebody else
}

}  // namespace
}  // namespace llmos::guest
