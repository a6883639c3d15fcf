// SPDX-License-Identifier: MIT
// llmosctl in a machine with the module and our tools installed, for tests that run there as root.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "store_support.hpp"

namespace llmos::test {

using nlohmann::json;

inline const std::string kModels = "/sys/fs/llmos/models/";

struct Result {
  int status;  // of exit, or 128 + the signal
  std::string out, error;
};

inline std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Llmosctl : public testing::Test {
 protected:
  void SetUp() override {
    if (shell("command -v llmosctl").status) GTEST_SKIP() << "llmosctl is not installed here";
    std::filesystem::permissions(dir_.path(), std::filesystem::perms(0755));
    file_ = dir_.write("test-model", pattern(3 * kMiB + 5));
    clean();
  }
  void TearDown() override {
    for (pid_t pid : readers_) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, nullptr, 0);
    }
    clean();
  }

  Result shell(const std::string& command, const std::string& user = "root") const {
    const std::string out = dir_ / "out", error = dir_ / "error",
                      script = dir_.write("script", std::as_bytes(std::span(command)));
    const std::string as = user == "root" ? "" : "setpriv --reuid " + user + " --regid " + user + " --init-groups ";
    const int status = std::system((as + "sh " + script + " >" + out + " 2>" + error).c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), slurp(out), slurp(error)};
  }

  Result ctl(const std::string& arguments, const std::string& user = "root") const {
    return shell("llmosctl " + arguments, user);
  }

  json ctl_json(const std::string& arguments, const std::string& user = "root") const {
    const Result result = ctl("--json " + arguments, user);
    EXPECT_EQ(result.status, 0) << result.error;
    return json::parse(result.out);
  }

  // A process that has the model mapped and touches it for ever.
  pid_t start_reader(const std::string& name = "test-model") {
    const pid_t pid = ::fork();
    if (pid == 0) {
      const int fd = ::open((kModels + name).c_str(), O_RDONLY);
      struct stat status {};
      if (fd < 0 || ::fstat(fd, &status)) ::_exit(1);
      const auto* bytes = static_cast<const volatile char*>(
          ::mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ, MAP_SHARED, fd, 0));
      ::signal(SIGBUS, SIG_DFL);
      for (off_t at = 0;; at = (at + 4096) % status.st_size) static_cast<void>(bytes[at]);
    }
    readers_.push_back(pid);
    const std::string number = std::to_string(pid);
    for (int i = 0; i < 100 && slurp("/proc/" + number + "/maps").find("test-") == std::string::npos; ++i)
      ::usleep(50'000);
    return pid;
  }

  static bool runs(pid_t pid) { return ::waitpid(pid, nullptr, WNOHANG) == 0; }

  // The signal that ended the process, within ten seconds; 0: it runs.
  int end_of(pid_t pid) {
    for (int i = 0; i < 100; ++i, ::usleep(100'000)) {
      int status = 0;
      if (::waitpid(pid, &status, WNOHANG) != pid) continue;
      readers_.erase(std::find(readers_.begin(), readers_.end(), pid));
      return WIFSIGNALED(status) ? WTERMSIG(status) : -1;
    }
    return 0;
  }

  const TempDir dir_;
  std::string file_;

 private:
  void clean() const {
    for (const auto& model : json::parse(ctl("--json ls").out)) ctl("rm " + model["name"].get<std::string>());
  }

  std::vector<pid_t> readers_;
};

#define EXPECT_SUCCESS(...)                      \
  do {                                           \
    const Result result = __VA_ARGS__;           \
    EXPECT_EQ(result.status, 0) << result.error; \
  } while (false)

#define EXPECT_COMPLAINT(part, ...)                                        \
  do {                                                                     \
    const Result result = __VA_ARGS__;                                     \
    EXPECT_EQ(result.status, 1) << result.out;                             \
    EXPECT_NE(result.error.find(part), std::string::npos) << result.error; \
  } while (false)

// A process that has a turn of a lane on a new device, for as long as this lives.
class LaneHolder {
 public:
  LaneHolder() {
    Device::add("ctl0", 1 << 30, 2);
    lane_ = Lane("ctl0", {.name = "chat", .weight = 300});
    lane_.acquire();
  }
  ~LaneHolder() {
    lane_ = Lane();
    Device::remove("ctl0");
  }
  Lane& lane() { return lane_; }

 private:
  Lane lane_;
};

}  // namespace llmos::test
