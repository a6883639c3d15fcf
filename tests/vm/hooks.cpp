// SPDX-License-Identifier: MIT
// What the module makes of policies: answers that make no sense, that starve, that come and go; and of none at all.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>

#include "policy.hpp"
#include "process.hpp"
#include "scheduler.hpp"

namespace llmos::guest {
namespace {

int unload() { return static_cast<int>(syscall(SYS_delete_module, "llmos", O_NONBLOCK)); }

int load(const std::string& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  return static_cast<int>(syscall(SYS_finit_module, static_cast<int>(file), "", 0));
}

std::string module_file() {
  utsname name;
  uname(&name);
  return "/lib/modules/" + std::string(name.release) + "/updates/llmos.ko";
}

// By a descriptor of the device that is new.
int lane_on(int device_fd) {
  auto query = sized<llmos_query>();
  query.abi = LLMOS_ABI_VERSION;
  if (command(device_fd, LLMOS_QUERY, query)) return -1;
  auto args = sized<llmos_lane_create>();
  strcpy(args.device, "cpu");
  return command(device_fd, LLMOS_LANE_CREATE, args);
}

// First, and in children: a descriptor of the device that stayed open here would keep the module.
class HookModule : public testing::Test {
 protected:
  void SetUp() override {
    if (!exists(module_file())) GTEST_SKIP() << "no " << module_file();
    umount2(models_dir.c_str(), MNT_DETACH);
    groups_were_mounted_ = umount2(groups_dir.c_str(), MNT_DETACH) == 0;
  }
  void TearDown() override {
    if (!exists("/sys/fs/llmos")) {
      EXPECT_OK(load(module_file()));
    }
    mount("none", models_dir.c_str(), "llmos_models", 0, nullptr);
    if (groups_were_mounted_) mount("none", groups_dir.c_str(), LLMOS_GROUPS_FSTYPE, 0, nullptr);
  }

 private:
  bool groups_were_mounted_ = false;
};

TEST_F(HookModule, StaysWhileAPolicyIsAttached) {
  if (!have_policies()) GTEST_SKIP() << "no policies, bpftool or BTF";
  {
    const Policy policy("deadline");
    EXPECT_ERRNO(EAGAIN, unload());
  }
  EXPECT_TRUE(eventually([] { return unload() == 0; })) << error_name(errno);
}

TEST_F(HookModule, StaysWhileASchedulerIsAttached) {
  if (!have_policies()) GTEST_SKIP() << "no policies, bpftool or BTF";
  if (!have_sched_ext()) GTEST_SKIP() << "this kernel was built without sched_ext";
  {
    const Scheduler scheduler;
    EXPECT_ERRNO(EAGAIN, unload());
  }
  EXPECT_TRUE(eventually([] { return unload() == 0; })) << error_name(errno);
}

TEST_F(HookModule, StaysWhileALaneIsOpen) {
  Child child([](Child::Parent& parent) {
    const TestDevice test;
    const Lane lane(test);
    close(device());
    parent.tell();
    parent.wait();
  });
  child.wait();
  EXPECT_ERRNO(EAGAIN, unload());
  child.kill();
  EXPECT_TRUE(eventually([] { return unload() == 0; })) << error_name(errno);
}

// Four lanes take turns, and nothing but they hold the module, unless a policy does. Whoever tries to remove it at any
// moment is refused, and nobody who works notices.
void stays_under_load() {
  Child load([](Child::Parent& parent) {
    std::vector<Lane> lanes;
    for (int i = 0; i < 4; i++) lanes.emplace_back(Fd(lane_on(open_device())));
    std::atomic<bool> stop = false;
    std::atomic<uint64_t> turns = 0;
    std::vector<std::thread> threads;
    for (const Lane& lane : lanes)
      threads.emplace_back([&] {
        for (; !stop; turns++) {
          EXPECT_OK(lane.acquire());
          EXPECT_OK(lane.release(1 * ms));
        }
      });
    parent.tell();
    parent.wait();
    const uint64_t before = turns;
    EXPECT_TRUE(eventually([&] { return turns > before + 100; })) << "the lanes stand still";
    stop = true;
    for (auto& thread : threads) thread.join();
  });
  load.wait();
  for (int attempt = 0; attempt < 300; attempt++) ASSERT_ERRNO(EAGAIN, unload());
  load.tell();
  load.join();
}

TEST_F(HookModule, StaysUnderLoad) {
  stays_under_load();
  EXPECT_TRUE(eventually([] { return unload() == 0; })) << error_name(errno);
}

TEST_F(HookModule, StaysUnderLoadOfAPolicy) {
  if (!have_policies()) GTEST_SKIP() << "no policies, bpftool or BTF";
  {
    const Policy policy("hostile");
    stays_under_load();
  }
  EXPECT_TRUE(eventually([] { return unload() == 0; })) << error_name(errno);
}

// Processes that come, take a turn and go: between two of them the module may go. Then it is loaded again.
TEST_F(HookModule, GoesOnlyBetweenUsers) {
  constexpr int users = 3;
  auto* const enough = static_cast<std::atomic<bool>*>(
      mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  std::vector<std::unique_ptr<Child>> children;
  for (int i = 0; i < users; i++)
    children.push_back(std::make_unique<Child>([i, enough](Child::Parent& parent) {
      parent.tell();
      int64_t turns = 0;
      while (!*enough || turns == 0) {
        usleep(static_cast<useconds_t>(20000 * (i + 1)));  // much longer than a turn: often nobody has the module
        const Fd device = open_device();
        if (device < 0) continue;  // it is away
        const Lane lane(Fd(lane_on(device)));
        ASSERT_GE(lane.fd(), 0) << error_name(errno);
        ASSERT_OK(lane.acquire());
        ASSERT_OK(lane.release(1 * ms));
        turns++;
      }
      parent.tell(turns);
      parent.wait();
    }));
  for (auto& child : children) child->wait();
  int went = 0, refused = 0;
  const auto last = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while ((went < 5 || refused < 5) && std::chrono::steady_clock::now() < last) {
    if (unload() == 0) {
      went++;
      ASSERT_OK(load(module_file()));
    } else {
      ASSERT_TRUE(errno == EAGAIN || errno == EWOULDBLOCK) << error_name(errno);
      refused++;
    }
  }
  *enough = true;
  for (auto& child : children) EXPECT_GT(child->wait(), 0);
  for (auto& child : children) {
    child->tell();
    child->join();
  }
  EXPECT_GE(refused, 5);
  EXPECT_GE(went, 5);
  EXPECT_TRUE(eventually([] { return unload() == 0; })) << error_name(errno);
}

// The same module with its BTF hidden under another name: defaults only, and it says so.
TEST_F(HookModule, WorksWithoutBtf) {
  ASSERT_TRUE(eventually([] { return unload() == 0; })) << error_name(errno);
  std::ifstream in(module_file(), std::ios::binary);
  std::stringstream content;
  content << in.rdbuf();
  std::string bytes = content.str();
  const std::string sought(std::string(1, '\0') + ".BTF" + std::string(1, '\0'));
  const auto at = bytes.rfind(sought);
  if (at == std::string::npos) GTEST_SKIP() << "the module has none";
  bytes[at + 2] = 'X';
  const std::string path = "/tmp/llmos-nobtf.ko";
  std::ofstream(path, std::ios::binary) << bytes;
  ASSERT_OK(load(path));
  EXPECT_EQ(read_file(hooks_dir + "available"), "0\n");
  if (have_program("llmosctl")) {
    EXPECT_NE(shell("llmosctl audit").text.find("came without BTF"), std::string::npos);
  }
  in_child([] {
    const TestDevice test;
    const Lane lane(test);
    EXPECT_OK(lane.acquire());
    EXPECT_OK(lane.release());
  });
  EXPECT_GT(hook_count("lane_key", "default"), 0u);
  EXPECT_TRUE(eventually([] { return unload() == 0; })) << error_name(errno);
}

class Hooks : public ModuleTest {
 protected:
  void SetUp() override {
    ModuleTest::SetUp();
    if (!have_policies()) GTEST_SKIP() << "no policies, bpftool or BTF";
  }
};

TEST_F(Hooks, DefaultsAreCountedWhereNobodyAnswers) {
  const uint64_t before = hook_count("lane_key", "default"), answered = hook_count("lane_key", "answered");
  const TestDevice test;
  const Lane lane(test);
  ASSERT_OK(lane.acquire());
  EXPECT_EQ(hook_count("lane_key", "default"), before + 1);
  EXPECT_EQ(hook_count("lane_key", "answered"), answered);
}

TEST_F(Hooks, NonsenseIsBroughtIntoBoundsOrIgnored) {
  const Policy policy("nonsense");
  const TestDevice test;
  for (const int64_t answer : {INT64_MIN, INT64_MAX - 1, int64_t{-1'000'000'000'000}}) {
    policy.set("answer", bytes_of(static_cast<uint64_t>(answer)));
    const uint64_t slices = hook_count("lane_slice", "refused"), admits = hook_count("admit", "refused");
    Crowd crowd;
    for (int i = 0; i < 10; i++) crowd.add(Lane(test));
    crowd.enter_all();
    crowd.run(1 * second, 10 * ms);
    EXPECT_EQ(crowd.used(0, 10) / second, 1u);
    EXPECT_GT(hook_count("lane_slice", "refused"), slices);
    const uint64_t slice = crowd[0].stat().slice_ns;
    EXPECT_GE(slice, 100 * us);
    EXPECT_LE(slice, 10 * second);
    const Fd model = create("nonsense", page, {.flags = LLMOS_MODEL_EVICTABLE});  // no errno: not refused
    if (answer < 0) {
      EXPECT_GT(hook_count("admit", "refused"), admits);
    }
  }
  EXPECT_GT(hook_count("lane_key", "refused"), 0u);
}

TEST_F(Hooks, NonsenseDoesNotKeepReclaimFromEvicting) {
  const Policy policy("nonsense");
  policy.set("answer", bytes_of(static_cast<uint64_t>(INT64_MIN)));
  make_model("idle", huge_page, {.flags = LLMOS_MODEL_EVICTABLE});
  const Setting limit(memory_max_file, std::to_string(memory_current()));
  EXPECT_OK(close(create("other", huge_page).release()));
  EXPECT_EQ(stat_of("idle").state, static_cast<uint32_t>(LLMOS_STATE_EVICTED));
  EXPECT_GT(hook_count("evict_score", "refused"), 0u);
  EXPECT_OK(model_remove("idle"));
}

TEST_F(Hooks, AdmitRefusesModels) {
  const Policy policy("limit");
  policy.set("bytes_max", bytes_of(huge_page));
  EXPECT_ERRNO(EDQUOT, model_create("large", huge_page + 1));
  EXPECT_OK(close(create("small", huge_page).release()));
  policy.set("bytes_max", bytes_of(UINT64_MAX));
  EXPECT_OK(close(create("large", huge_page + 1).release()));
}

// However much a policy hates a lane, it has a turn soon after the bound: within 8 turns for each that waits longer.
TEST_F(Hooks, NobodyStarvesUnderAHostilePolicy) {
  const Setting bound(lanes_dir + "wait_max_ms", "200"), slice(lanes_dir + "slice_us", "5000");
  const Policy policy("hostile");
  const TestDevice test;
  Crowd crowd;
  for (int i = 0; i < 20; i++) crowd.add(Lane(test));
  const size_t victim = crowd.add(Lane(test, {.name = "victim"}));
  crowd.enter_all();
  const auto until_victim = [&] {
    int turns = 0;
    for (int64_t budget = INT64_MAX; crowd.turn(5 * ms, budget) != victim && turns < 100000;) turns++;
    return turns;
  };
  ASSERT_LT(until_victim(), 100000);
  const uint64_t waited = crowd[victim].stat().waited_ns;
  EXPECT_GE(waited, 190 * ms);
  EXPECT_LT(waited, 3 * second);
  ASSERT_LT(until_victim(), 100000);
  EXPECT_GT(crowd[0].stat().turns, 2u);  // the policy had its way the rest of the time
}

TEST_F(Hooks, PoliciesComeAndGoUnderLoad) {
  const TestDevice test("test", 2);
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++)
    threads.emplace_back([&] {
      const Lane lane(test);
      while (!stop) {
        EXPECT_OK(lane.acquire());
        EXPECT_OK(lane.yield(60 * ms));
        EXPECT_OK(lane.release(1 * ms));
      }
    });
  const uint64_t before = hook_count("lane_key", "answered");
  for (int round = 0; round < 4; round++) {
    const Policy hostile("hostile");
    const uint64_t now = hook_count("lane_key", "answered");
    EXPECT_TRUE(eventually([&] { return hook_count("lane_key", "answered") > now; }));
  }
  EXPECT_GT(hook_count("lane_key", "answered"), before);
  const uint64_t defaults = hook_count("lane_key", "default");
  EXPECT_TRUE(eventually([&] { return hook_count("lane_key", "default") > defaults; }));
  stop = true;
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace llmos::guest
