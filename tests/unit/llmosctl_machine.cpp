// SPDX-License-Identifier: MIT
// llmosctl as people use it.
#include <pty.h>
#include <termios.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "llmosctl_machine.hpp"

namespace llmos::test {
namespace {

TEST_F(Llmosctl, loads_lists_and_removes) {
  EXPECT_SUCCESS(ctl("load " + file_));
  EXPECT_EQ(slurp(kModels + "test-model"), slurp(file_));
  const Result list = ctl("ls");
  EXPECT_NE(list.out.find("test-model  3.0 MiB  sealed"), std::string::npos) << list.out;
  EXPECT_SUCCESS(ctl("rm test-model"));
  EXPECT_EQ(ctl_json("ls"), json::array());
  EXPECT_COMPLAINT("there is no model \"test-model\"", ctl("rm test-model"));
}

TEST_F(Llmosctl, says_the_digest_that_fsverity_says) {
  const std::string digest = shell("fsverity digest --compact " + file_).out.substr(0, 64);
  const Result loaded = ctl("load " + file_);
  EXPECT_NE(loaded.out.find("sha256:" + digest), std::string::npos) << loaded.out;
  EXPECT_EQ(ctl_json("stat test-model")["digest"], "sha256:" + digest);
}

TEST_F(Llmosctl, reads_by_direct_io_into_the_kernel) {
  const Result traced = shell("strace -f -e trace=openat,ioctl,pwrite64 llmosctl load " + file_ + " --quiet");
  EXPECT_EQ(traced.status, 0) << traced.error;
  EXPECT_NE(traced.error.find(", O_RDONLY|O_DIRECT"), std::string::npos) << traced.error;
  EXPECT_NE(traced.error.find("0xe7, 0x21"), std::string::npos) << traced.error;
  EXPECT_EQ(traced.error.find("pwrite64"), std::string::npos) << traced.error;
}

TEST_F(Llmosctl, writes_exact_numbers_as_json) {
  const json loaded =
      ctl_json("load " + file_ + " --name test-json --evictable --priority -5 --mode 0444 --owner bob --group alice");
  ASSERT_EQ(loaded.size(), 1u);
  for (const json& model : {ctl_json("stat test-json"), ctl_json("ls")[0]}) {
    EXPECT_EQ(model["name"], "test-json");
    EXPECT_EQ(model["bytes"], 3 * kMiB + 5);
    EXPECT_EQ(model["state"], "sealed");
    EXPECT_EQ(model["owner"], "bob");
    EXPECT_EQ(model["uid"], 1001);
    EXPECT_EQ(model["group"], "alice");
    EXPECT_EQ(model["mode"], "0444");
    EXPECT_EQ(model["evictable"], true);
    EXPECT_EQ(model["priority"], -5);
    EXPECT_EQ(model["grants"], 0);
  }
}

TEST_F(Llmosctl, loading_again_finds_it_there) {
  ctl("load " + file_);
  const Result again = ctl("load " + file_);
  EXPECT_EQ(again.status, 0);
  EXPECT_NE(again.out.find("was loaded already"), std::string::npos) << again.out;
}

TEST_F(Llmosctl, loads_what_it_can_and_complains_about_the_rest) {
  const std::string second = dir_.write("test-second", pattern(10));
  EXPECT_COMPLAINT("absent", ctl("load " + file_ + " /absent " + second));
  EXPECT_EQ(ctl_json("ls").size(), 2u);
  const Result some = ctl("load --json " + file_ + " /absent " + second);
  EXPECT_EQ(some.status, 1);
  ASSERT_EQ(json::parse(some.out).size(), 2u) << some.out;
  EXPECT_EQ(json::parse(some.out)[1]["name"], "test-second");
}

TEST_F(Llmosctl, says_which_of_several_failed) {
  ctl("load " + file_);
  EXPECT_COMPLAINT("llmosctl: test-model: ", ctl("prepare test-model"));
  EXPECT_COMPLAINT("llmosctl: there is no model \"absent\"", ctl("prepare absent"));
  EXPECT_EQ(ctl("--json prepare test-model absent").out, "[]\n");
}

TEST_F(Llmosctl, runs_what_the_store_has_rather_than_a_file_of_that_name) {
  if (!std::filesystem::exists("/mnt/stories260K-F32.gguf")) GTEST_SKIP() << "no stories260K";
  EXPECT_SUCCESS(ctl("load --name test-model /mnt/stories260K-F32.gguf"));
  const Result named = shell("cd " + dir_.path() + " && llmosctl --json inspect test-model");  // a file too
  EXPECT_EQ(named.status, 0) << named.error;
  EXPECT_EQ(ctl("inspect " + file_).status, 1) << "which is no model";
  EXPECT_EQ(ctl_json("prepare test-model")[0]["name"], "test-model");
}

TEST_F(Llmosctl, replaces_only_when_told) {
  ctl("load " + file_);
  const std::string other = dir_.write("other", pattern(100));
  EXPECT_COMPLAINT("differs", ctl("load --name test-model " + other));
  EXPECT_SUCCESS(ctl("load --replace --name test-model " + other));
  EXPECT_EQ(slurp(kModels + "test-model"), slurp(other));
}

TEST_F(Llmosctl, loads_from_a_pipe) {
  EXPECT_SUCCESS(shell("cat " + file_ + " | llmosctl load - --name test-pipe --bytes $(stat -c %s " + file_ + ")"));
  EXPECT_EQ(slurp(kModels + "test-pipe"), slurp(file_));
  EXPECT_COMPLAINT("how many bytes", shell("cat " + file_ + " | llmosctl load - --name test-more"));
}

TEST_F(Llmosctl, places_on_nodes) {
  EXPECT_SUCCESS(ctl("load --node 0 --name test-0 " + file_));
  EXPECT_SUCCESS(ctl("load --node interleave --name test-all " + file_));
  EXPECT_SUCCESS(ctl("load --page-size 4K --name test-small " + file_));
  EXPECT_EQ(ctl_json("stat test-small")["huge"], 0);
  EXPECT_GT(ctl_json("stat test-0")["huge"], 0);
  EXPECT_COMPLAINT("NUMA node 7 has no memory", ctl("load --node 7 --name test-7 " + file_));
}

TEST_F(Llmosctl, verifies) {
  ctl("load " + file_);
  EXPECT_SUCCESS(ctl("verify test-model"));
  EXPECT_SUCCESS(ctl("verify test-model " + file_));
  EXPECT_COMPLAINT("they differ", ctl("verify test-model " + dir_.write("other", pattern(100))));
}

TEST_F(Llmosctl, hands_any_program_the_path) {
  ctl("load " + file_);
  EXPECT_SUCCESS(ctl("exec test-model -- cmp {} " + file_));
  EXPECT_EQ(ctl("exec test-model -- echo --file={} {}").out,
            "--file=" + kModels + "test-model " + kModels + "test-model\n");
  EXPECT_EQ(ctl("exec test-model -- echo -n --json --help").out, "--json --help " + kModels + "test-model");
  EXPECT_EQ(ctl("exec test-model -- sh -c 'exit 42' {}").status, 42);
  EXPECT_EQ(ctl("exec test-model -- no-such-program").status, 127);
  EXPECT_EQ(ctl("exec test-model -- /etc/passwd").status, 126);
  EXPECT_COMPLAINT("there is no model \"absent\"", ctl("exec absent -- true"));
}

TEST_F(Llmosctl, shows_who_has_it_open) {
  ctl("load " + file_);
  const pid_t pid = start_reader();
  const json grants = ctl_json("grants test-model");
  ASSERT_EQ(grants.size(), 1u);
  EXPECT_EQ(grants[0]["pid"], pid);
  EXPECT_EQ(grants[0]["user"], "root");
  EXPECT_GE(grants[0]["mapped"], 3 * kMiB);
  const Result table = ctl("grants test-model");
  EXPECT_NE(table.out.find(std::to_string(pid)), std::string::npos) << table.out;
}

TEST_F(Llmosctl, takes_a_model_from_one_process_while_another_runs_on) {
  ctl("load " + file_);
  const pid_t victim = start_reader(), other = start_reader();
  const Result revoked = ctl("revoke test-model --pid " + std::to_string(victim));
  EXPECT_EQ(revoked.out, "test-model: 1 grant revoked\n") << revoked.error;
  EXPECT_EQ(end_of(victim), SIGBUS);
  EXPECT_TRUE(runs(other));
}

TEST_F(Llmosctl, takes_a_model_from_a_user_and_gives_it_back) {
  ctl("load --mode 0444 " + file_);
  EXPECT_SUCCESS(shell("cat " + kModels + "test-model >/dev/null", "bob"));
  EXPECT_SUCCESS(ctl("revoke test-model --uid bob"));
  EXPECT_NE(shell("cat " + kModels + "test-model", "bob").status, 0);
  EXPECT_SUCCESS(shell("cat " + kModels + "test-model >/dev/null", "alice"));
  EXPECT_SUCCESS(ctl("allow test-model --uid bob"));
  EXPECT_SUCCESS(shell("cat " + kModels + "test-model >/dev/null", "bob"));
}

TEST_F(Llmosctl, takes_a_model_from_a_cgroup) {
  if (!std::filesystem::exists("/sys/fs/cgroup/cgroup.procs")) GTEST_SKIP() << "no cgroup v2 here";
  ctl("load " + file_);
  std::filesystem::create_directory("/sys/fs/cgroup/test-llmosctl");
  const pid_t pid = start_reader();
  std::ofstream("/sys/fs/cgroup/test-llmosctl/cgroup.procs") << pid;
  const pid_t inside = pid;
  // A grant belongs to the cgroup that its opener was in, so a reader must open the model after it moved.
  const std::string read =
      "echo $$ >/sys/fs/cgroup/test-llmosctl/cgroup.procs; cat " + kModels + "test-model >/dev/null";
  EXPECT_SUCCESS(shell(read));
  EXPECT_SUCCESS(ctl("revoke test-model --cgroup test-llmosctl"));
  EXPECT_NE(shell(read).status, 0);
  EXPECT_TRUE(runs(inside));
  EXPECT_SUCCESS(ctl("allow test-model --cgroup /sys/fs/cgroup/test-llmosctl"));
  EXPECT_SUCCESS(shell(read));
  EXPECT_COMPLAINT("cannot open the cgroup", ctl("revoke test-model --cgroup absent"));
  ::kill(pid, SIGKILL);
  end_of(pid);
  std::filesystem::remove("/sys/fs/cgroup/test-llmosctl");
}

TEST_F(Llmosctl, evicts_and_loads_again) {
  ctl("load " + file_);
  EXPECT_SUCCESS(ctl("set test-model --evictable --priority 3"));
  EXPECT_EQ(ctl_json("stat test-model")["priority"], 3);
  EXPECT_SUCCESS(ctl("set test-model --no-evictable"));
  EXPECT_EQ(ctl_json("stat test-model")["evictable"], false);
  EXPECT_EQ(ctl_json("stat test-model")["priority"], 3);
  {
    const std::ifstream open(kModels + "test-model");
    EXPECT_COMPLAINT("is in use", ctl("evict test-model"));
  }
  EXPECT_SUCCESS(ctl("evict test-model"));
  EXPECT_EQ(ctl_json("stat test-model")["state"], "evicted");
  EXPECT_COMPLAINT("evicted", ctl("exec test-model -- cat {}"));
  EXPECT_SUCCESS(ctl("load " + file_));
  EXPECT_EQ(slurp(kModels + "test-model"), slurp(file_));
}

TEST_F(Llmosctl, lets_the_group_load_and_others_only_read) {
  EXPECT_SUCCESS(ctl("load --name test-alice " + file_, "alice"));
  EXPECT_EQ(ctl_json("stat test-alice")["owner"], "alice");
  EXPECT_COMPLAINT("group \"llmos\"", ctl("load --name test-bob " + file_, "bob"));
  EXPECT_COMPLAINT("group \"llmos\"", ctl("rm test-alice", "bob"));
  EXPECT_EQ(ctl_json("ls", "bob")[0]["name"], "test-alice");
  EXPECT_SUCCESS(ctl("verify test-alice " + file_, "bob"));
  EXPECT_SUCCESS(ctl("exec test-alice -- cmp {} " + file_, "bob"));
  EXPECT_SUCCESS(ctl("rm test-alice", "alice"));
}

TEST_F(Llmosctl, lets_only_the_owner_manage_a_model) {
  ctl("load " + file_);
  for (const char* command : {"rm test-model", "evict test-model", "set test-model --evictable", "grants test-model",
                              "revoke test-model --uid bob"})
    EXPECT_COMPLAINT("only its owner", ctl(command, "alice"));
}

TEST_F(Llmosctl, finds_the_machine_healthy) {
  const Result doctor = ctl("doctor");
  EXPECT_EQ(doctor.status, 0) << doctor.out;
  for (const json& check : ctl_json("doctor")) EXPECT_NE(check["level"], "fail") << check;
  EXPECT_NE(ctl("doctor", "bob").out.find("not in the group llmos"), std::string::npos);
}

TEST_F(Llmosctl, shows_a_bar_on_a_terminal_only) {
  const std::string big = dir_.write("test-big", pattern(48 * kMiB));
  EXPECT_EQ(ctl("load --name test-plain " + big).error, "");
  const Result terminal = shell("script --quiet --return --command 'llmosctl load " + big + "' /dev/null");
  EXPECT_EQ(terminal.status, 0) << terminal.error;
  EXPECT_NE(terminal.out.find("48.0 MiB of 48.0 MiB"), std::string::npos) << terminal.out;
  EXPECT_NE(terminal.out.find("\x1b[K"), std::string::npos);
}

TEST_F(Llmosctl, interrupted_leaves_nothing) {
  const Result result = shell("mkfifo " + (dir_ / "fifo") + "; (head -c 4000000 /dev/zero; sleep 30) >" +
                              (dir_ / "fifo") + " & llmosctl load " + (dir_ / "fifo") +
                              " --name test-stuck --bytes 64M & sleep 3; kill -INT $!; wait $!; echo $?; kill %1");
  EXPECT_EQ(ctl_json("ls"), json::array()) << result.out;
  EXPECT_EQ(slurp("/sys/fs/llmos/memory.current"), "0\n");
}

// ---- devices, lanes ----

TEST_F(Llmosctl, lists_lanes) {
  LaneHolder holder;
  const Result table = ctl("lane ls ctl0");
  EXPECT_NE(table.out.find("chat"), std::string::npos) << table.out << table.error;
  EXPECT_NE(table.out.find("holding"), std::string::npos) << table.out;
  const json lanes = ctl_json("lane ls ctl0");
  ASSERT_EQ(lanes.size(), 1u);
  EXPECT_EQ(lanes[0]["name"], "chat");
  EXPECT_EQ(lanes[0]["weight"], 300);
  EXPECT_EQ(lanes[0]["pid"], ::getpid());
  EXPECT_EQ(lanes[0]["state"], "holding");
  EXPECT_EQ(lanes[0]["cgroup_id"], holder.lane().info().cgroup);
  EXPECT_EQ(shell("stat -c %i /sys/fs/cgroup/" + lanes[0]["cgroup"].get<std::string>()).out,
            std::to_string(holder.lane().info().cgroup) + "\n");
  EXPECT_EQ(ctl_json("lane ls cpu"), json::array());
  EXPECT_EQ(ctl_json("lane ls ctl0", "alice"), json::array()) << "another user's process";
}

// As in a container, where cgroup2 is seen but nobody mounted the groups; by any path of a cgroup's directory.
TEST_F(Llmosctl, finds_groups_where_none_are_mounted) {
  ASSERT_EQ(ctl("device add ctl0 --memory 1G").status, 0);
  ASSERT_EQ(::mkdir("/sys/fs/cgroup/ctl-group", 0755), 0);
  const auto alone = [&](const std::string& command) {
    return shell("unshare -m sh -c 'umount /sys/fs/llmos/groups; " + command + "'");
  };
  const Result set = alone("llmosctl group set ctl-group memory.max ctl0 5M");
  EXPECT_EQ(set.status, 0) << set.error;
  EXPECT_EQ(shell("cat /sys/fs/llmos/groups/ctl-group/memory.max | grep ctl0").out, "ctl0 5242880\n");
  const Result by_descriptor = shell("llmosctl group set /proc/self/fd/3 memory.max ctl0 6M 3</sys/fs/cgroup/ctl-group");
  EXPECT_EQ(by_descriptor.status, 0) << by_descriptor.error;
  const Result shown = alone("llmosctl --json group show ctl-group");
  ASSERT_EQ(shown.status, 0) << shown.error;
  const json lines = json::parse(shown.out)["memory.max"];
  EXPECT_NE(std::find(lines.begin(), lines.end(), "ctl0 6291456"), lines.end()) << lines;
  EXPECT_EQ(alone("llmosctl group set no-such-group memory.max ctl0 5M").status, 1);
  EXPECT_EQ(::rmdir("/sys/fs/cgroup/ctl-group"), 0);
  EXPECT_EQ(ctl("device rm ctl0").status, 0);
}

TEST_F(Llmosctl, shows_what_happens_in_top) {
  LaneHolder holder;
  const Charge charge("ctl0", 5 * kMiB);
  ctl("load " + file_);
  const Result once = shell("llmosctl top --once --delay 1 & sleep 0.5; wait");
  for (const char* part : {"ctl0", "5.0 MiB / 1.0 GiB", "1 / 2", "chat", "test-model"})
    EXPECT_NE(once.out.find(part), std::string::npos) << part << " in " << once.out << once.error;
  holder.lane().release();
  std::atomic<bool> stop = false;
  std::thread busy([&] {
    for (; !stop; ::usleep(200'000)) {
      holder.lane().acquire();
      holder.lane().release(std::chrono::milliseconds(60));
    }
  });
  const json top = ctl_json("top --delay 3");
  stop = true;
  busy.join();
  const auto device = std::find_if(top["devices"].begin(), top["devices"].end(), [](auto& one) { return one["id"] == "ctl0"; });
  ASSERT_NE(device, top["devices"].end());
  EXPECT_EQ((*device)["memory_current"], 5 * kMiB);
  EXPECT_GT((*device)["busy_percent"], 10.0);
  EXPECT_LT((*device)["busy_percent"], 50.0);
  ASSERT_EQ(top["lanes"].size(), 1u);
  EXPECT_GT(top["lanes"][0]["busy_percent"], 10.0);
  EXPECT_EQ(top["models"].size(), 1u);
  bool found = false;
  for (const json& group : top["groups"]) found = found || (group["device"] == "ctl0" && group["memory_current"] == 5 * kMiB);
  EXPECT_TRUE(found) << top["groups"];
}

// In a terminal: the alternate screen is entered and left, and q ends it.
TEST_F(Llmosctl, top_is_live_in_a_terminal) {
  if (shell("command -v script").status) GTEST_SKIP() << "no script(1)";
  const Result live = shell("(sleep 3; printf q) | script -qec 'llmosctl top -d 0.5' /dev/null");
  EXPECT_EQ(live.status, 0) << live.error;
  EXPECT_NE(live.out.find("\x1b[?1049h"), std::string::npos);
  EXPECT_NE(live.out.find("llmosctl top"), std::string::npos) << live.out;
  EXPECT_NE(live.out.find("cpu"), std::string::npos);
  EXPECT_GT(live.out.rfind("\x1b[?1049l"), live.out.rfind("WAITING"));
}

TEST_F(Llmosctl, gives_the_terminal_back_when_top_is_ended) {
  for (const int signal : {SIGTERM, SIGHUP}) {
    int terminal = -1;
    const pid_t child = ::forkpty(&terminal, nullptr, nullptr, nullptr);
    ASSERT_GE(child, 0);
    if (child == 0) {
      ::execlp("llmosctl", "llmosctl", "top", nullptr);
      _exit(127);
    }
    std::string shown;
    const auto read_some = [&] {
      char text[4096];
      const ssize_t n = ::read(terminal, text, sizeof(text));
      if (n > 0) shown.append(text, static_cast<size_t>(n));
      return n > 0;
    };
    termios settings{};
    while (shown.find("q: quit") == std::string::npos && read_some()) continue;
    ::tcgetattr(terminal, &settings);
    EXPECT_FALSE(settings.c_lflag & ICANON);
    ::kill(child, signal);
    while (read_some()) continue;
    int status = -1;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
    EXPECT_TRUE(shown.ends_with("\x1b[?1049l")) << "the screen of before";
    ::tcgetattr(terminal, &settings);
    EXPECT_TRUE(settings.c_lflag & ICANON);
    ::close(terminal);
  }
}

TEST_F(Llmosctl, runs_a_model_by_turns) {
  if (!std::filesystem::exists("/mnt/stories260K-F32.gguf")) GTEST_SKIP() << "no stories260K";
  const std::string options = " -p 'Once upon a time' -n 20 --temp 0 --raw -t 1 -c 128";
  const Result alone = ctl("run /mnt/stories260K-F32.gguf" + options);
  EXPECT_EQ(alone.status, 0) << alone.error;
  EXPECT_EQ(ctl("run --device-share /mnt/stories260K-F32.gguf" + options).out, alone.out);
}

}  // namespace
}  // namespace llmos::test
