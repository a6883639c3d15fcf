// SPDX-License-Identifier: MIT
// The CUDA backend where the kernel module counts the device's memory and gives turns on it. Runs in a machine with the
// module, as root, on the fake driver: simulated. Every process has such a driver, and a ledger, of its own.
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <llmos/llmos.hpp>
#include <thread>

#include "simulated.hpp"
#include "support/failure.hpp"

namespace llmos::test {
namespace {

const std::string model_file = "/mnt/stories260K-F32.gguf", cgroups = "/sys/fs/cgroup/";
const std::string device = "0000:aa:00.0";  // the fake driver's first

std::shared_ptr<core::Engine> engine(bool share = false) {
  static const auto bytes = std::make_shared<std::vector<std::byte>>(read_bytes(model_file));
  core::EngineOptions options = on_cuda(128);
  options.device_share = share;
  options.lane_name = "stories-on-cuda";
  return std::make_shared<core::Engine>(*bytes, bytes, options);
}

size_t charged() {  // on the device, by everyone
  for (const Device& one : Device::list())
    if (one.id == device) return one.memory_current;
  throw std::runtime_error("the device is not listed");
}

class TestCgroup {
 public:
  explicit TestCgroup(const std::string& name) : name_(name), group_(name) { ::mkdir((cgroups + name).c_str(), 0755); }
  ~TestCgroup() {
    for (int tries = 0; tries < 1000 && ::rmdir((cgroups + name_).c_str()) != 0; tries++) ::usleep(10000);
  }
  void limit(size_t bytes) const { group_.set("memory.max", device, std::to_string(bytes)); }
  void enter() const { std::ofstream(cgroups + name_ + "/cgroup.procs") << "0" << std::flush; }
  size_t current() const { return value_in("memory.current", device + " "); }
  size_t used_microseconds() const { return value_in("time.stat", device + " usage_usec="); }

 private:
  size_t value_in(const std::string& control, const std::string& key) const {
    const std::string text = group_.read(control);
    const size_t at = text.find(key);
    return at == text.npos ? 0 : std::stoull(text.substr(at + key.size()));
  }

  std::string name_;
  Group group_;
};

// A process of that cgroup that loads the model, writes a little, tells what its device holds, and lives until the end.
class User {
 public:
  explicit User(const TestCgroup& cgroup) {
    if (::pipe2(pipe_, O_CLOEXEC)) throw std::runtime_error("pipe2 failed");
    pid_ = ::fork();
    if (pid_ == 0) ::_exit(run(cgroup));
    ::close(pipe_[1]);
  }
  ~User() {
    end();
    ::close(pipe_[0]);
  }
  size_t bytes() const {  // 0: it failed
    size_t bytes = 0;
    return ::read(pipe_[0], &bytes, sizeof bytes) == sizeof bytes ? bytes : 0;
  }
  void end() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }

 private:
  int run(const TestCgroup& cgroup) const {
    try {
      cgroup.enter();
      const auto mine = engine();
      write(mine, "Once upon a time", 2);
      const size_t bytes = fake_cuda::ledger().bytes;
      if (::write(pipe_[1], &bytes, sizeof bytes) != sizeof bytes) return 1;
      for (;;) ::pause();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "user: %s\n", error.what());
      return 1;
    }
  }

  int pipe_[2];
  pid_t pid_;
};

class CudaOfTheModule : public Simulated {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(model_file)) GTEST_SKIP() << "no " << model_file;
    Simulated::SetUp();
    Device::add(device, 256 << 20, 1);
  }
  void TearDown() override {
    if (IsSkipped()) return;
    EXPECT_EQ(charged(), 0u);
    Device::remove(device);
    Simulated::TearDown();
  }
};

TEST_F(CudaOfTheModule, TwoProcessesAreChargedToTheByte) {
  const TestCgroup one("cuda-one"), two("cuda-two");
  one.limit(64 << 20);
  two.limit(32 << 20);
  User first(one), second(two);
  const size_t of_first = first.bytes(), of_second = second.bytes();
  EXPECT_GT(of_first, std::filesystem::file_size(model_file) / 2) << "weights lie on the device";
  EXPECT_EQ(one.current(), of_first);
  EXPECT_EQ(two.current(), of_second);
  EXPECT_EQ(charged(), of_first + of_second);
  first.end();
  EXPECT_EQ(one.current(), 0u) << "a killed process's charge goes with it";
  EXPECT_EQ(two.current(), of_second);
}

TEST_F(CudaOfTheModule, OverTheLimitNothingIsAllocated) {
  const TestCgroup cgroup("cuda-small");
  const size_t needed = User(cgroup).bytes();
  ASSERT_GT(needed, 0u);
  cgroup.limit(needed - 1);
  const pid_t child = ::fork();
  if (child == 0) {
    cgroup.enter();
    EXPECT_FAILURE(EDQUOT, "memory.max", write(engine(), "Once upon a time", 2));
    cgroup.limit(needed / 2);
    EXPECT_FAILURE(EDQUOT, "memory.max", engine());
    EXPECT_EQ(fake_cuda::ledger(), fake_cuda::Ledger{});
    EXPECT_EQ(cgroup.current(), 0u);
    cgroup.limit(needed);
    EXPECT_NE(write(engine(), "Once upon a time", 2), "");
    ::_exit(testing::Test::HasFailure());
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(CudaOfTheModule, TakesTurnsOnItsDevice) {
  const auto sharing = engine(true);
  Lane holder(device);
  holder.acquire();
  core::Session session(sharing);
  session.start("Once upon a time", greedy(2));
  const size_t before = fake_cuda::operations();
  std::thread giver([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    EXPECT_EQ(fake_cuda::operations(), before) << "it runs before its turn";
    holder.release();
  });
  EXPECT_TRUE(session.next());
  giver.join();
  size_t turns = 0;
  for (const LaneInfo& lane : Lane::list())
    if (lane.name == "stories-on-cuda" && lane.device == device) turns += lane.turns;
  EXPECT_GE(turns, 1u);
}

}  // namespace
}  // namespace llmos::test
