// SPDX-License-Identifier: MIT
// kill -9 at random moments: of loaders in every step of a load, and of users in everything they do with a model.
// Whatever was under way, no page is lost, no process hangs, no name is half there, and the next one can go on.
//
// LLMOS_KILL_MOMENTS (1000) are shared by all scenarios; LLMOS_SEED (1) chooses them.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "fuzz/random.hpp"
#include "guest.hpp"
#include "leaks.hpp"
#include "process.hpp"
#include "system.hpp"
#include "verity.hpp"

namespace llmos::guest {
namespace {

constexpr uint64_t size = 6 * MiB + 12345;  // huge pages, smaller ones, and a tail
constexpr uint64_t old_seed = 1, new_seed = 2;
const std::string victim = "victim", loaded = "loaded", source_path = scratch + "/kill-source";

uint64_t setting(const char* name, uint64_t otherwise) {
  const char* text = getenv(name);
  return text ? strtoull(text, nullptr, 0) : otherwise;
}

// ---- what is killed ----

void in_threads(unsigned count, const std::function<void(unsigned)>& body) {
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < count; i++) threads.emplace_back(body, i);
  for (std::thread& thread : threads) thread.join();
}

void create_big() { create(loaded, 96 * MiB); }

void write_in_threads() {
  const Fd fd = create(loaded, size);
  in_threads(3, [&](unsigned i) { write_pattern(fd, size / 3, new_seed, i * (size / 3)); });
}

void fill_from(int flags) {
  const Fd source(open(source_path.c_str(), O_RDONLY | O_CLOEXEC | flags));
  const Fd fd = create(loaded, size);
  if (model_fill(fd, source)) throw_errno("fill");
}

void fill_direct() { fill_from(O_DIRECT); }
void fill_buffered() { fill_from(0); }

void load() {
  const Fd source(open(source_path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT));
  const Fd fd = create(loaded, size);
  if (model_fill(fd, source) || model_seal(fd)) throw_errno("load");
}

void seal_zeros() {
  const Fd fd = create(loaded, 2 * size);
  if (model_seal(fd)) throw_errno("seal");
}

void replace() { make_model(victim, size, {.seed = new_seed, .flags = LLMOS_CREATE_REPLACE}); }

void evict_and_load() {
  if (model_evict(victim)) throw_errno("evict");
  replace();
}

void open_and_close() {
  for (int i = 0; i < 50; i++) open_model(victim);
}

void map_and_touch() {
  const Fd fd = open_model(victim);
  in_threads(3, [&](unsigned i) {
    for (int round = 0; round < 5; round++) Mapping(fd, size, PROT_READ, i ? MAP_SHARED : MAP_PRIVATE).touch();
  });
}

void write_privately() {
  const Mapping mapping(open_model(victim), size, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  for (uint64_t at = 0; at < size; at += page) mapping.data()[at] = std::byte{7};
}

void read_all() {
  const Fd fd = open_model(victim);
  in_threads(2, [&](unsigned) { pattern_differs_in(fd, size); });
}

void splice_out() {
  const Fd fd = open_model(victim);
  int ends[2];
  if (pipe2(ends, O_NONBLOCK)) throw_errno("pipe");
  std::byte bytes[65536];
  for (loff_t at = 0; splice(fd, &at, ends[1], nullptr, sizeof(bytes), SPLICE_F_NONBLOCK) > 0;)
    if (read(ends[0], bytes, sizeof(bytes)) < 0) throw_errno("pipe");
}

void revoke_while_mapped() {
  for (int round = 0; round < 5; round++) {
    const Fd fd = open_model(victim);
    const Mapping mapping(fd, size);
    mapping.touch();
    revoke(victim, LLMOS_SUBJECT_PID, getpid(), LLMOS_REVOKE_KEEP_ACCESS);
  }
}

void list_and_stat() {
  const Mapping mapping(open_model(victim), size);
  for (int round = 0; round < 50; round++) grants_of(victim), stat_of(victim), list_models();
}

void export_dmabuf() {
  for (int round = 0; round < 10; round++) {
    const Fd buffer(model_dmabuf(open_model(victim)));
    Mapping(buffer, 2 * MiB).touch();
  }
}

struct Scenario {
  const char* name;
  void (*body)();
};

const Scenario scenarios[] = {
    {"LoaderWhileCreating", create_big},
    {"LoaderWhileWriting", write_in_threads},
    {"LoaderWhileFillingDirectly", fill_direct},
    {"LoaderWhileFillingThroughTheCache", fill_buffered},
    {"LoaderAnywhere", load},
    {"LoaderWhileSealing", seal_zeros},
    {"LoaderWhileReplacing", replace},
    {"LoaderAfterEvicting", evict_and_load},
    {"UserWhileOpening", open_and_close},
    {"UserWhileFaulting", map_and_touch},
    {"UserWhileWritingPrivately", write_privately},
    {"UserWhileReading", read_all},
    {"UserWhileSplicing", splice_out},
    {"UserWhileRevoking", revoke_while_mapped},
    {"UserWhileListing", list_and_stat},
    {"UserOfADmabuf", export_dmabuf},
};

std::ostream& operator<<(std::ostream& out, const Scenario& scenario) { return out << scenario.name; }

// ---- killing ----

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

pid_t start(void (*body)()) {
  const pid_t child = fork();
  if (child < 0) throw_errno("fork");
  if (child) return child;
  try {
    body();
    _exit(0);
  } catch (const std::exception& error) {
    dprintf(2, "in the child: %s\n", error.what());
    _exit(1);
  }
}

// Its wait status; nothing when it does not end.
std::optional<int> end_of(pid_t child) {
  int status = 0;
  if (eventually([&] { return waitpid(child, &status, WNOHANG) == child; }, 60)) return status;
  ADD_FAILURE() << "process " << child << " does not end:\n"
                << shell("cd /proc/" + std::to_string(child) + "; grep -H . task/*/stack; grep State task/*/status").text;
  return std::nullopt;
}

class Kill : public testing::TestWithParam<Scenario> {
 protected:
  void SetUp() override { remake(); }
  void TearDown() override {
    EXPECT_OK(model_remove(victim));
    EXPECT_TRUE(eventually([] { return memory_current() == 0; })) << memory_current() << " bytes are left";
  }

  // How long the scenario takes when nobody disturbs it.
  double length() {
    const double begin = seconds();
    const auto status = end_of(start(GetParam().body));
    EXPECT_EQ(status, 0);
    const double length = seconds() - begin;
    check();
    return length;
  }

  void kill_at(double moment) {
    const pid_t child = start(GetParam().body);
    usleep(static_cast<useconds_t>(moment * 1e6));
    ::kill(child, SIGKILL);
    const auto status = end_of(child);
    ASSERT_TRUE(status.has_value());
    // It may have been faster; it may not have failed.
    EXPECT_TRUE(WIFSIGNALED(*status) || WEXITSTATUS(*status) == 0);
    check();
  }

  void check() {
    check_loaded();
    check_victim();
    EXPECT_TRUE(eventually([] { return memory_current() == round_up(size); }))
        << memory_current() << " bytes are charged, the model has " << size;
    EXPECT_EQ(stat_of(victim).grants, 0U);
    EXPECT_EQ(query().models, 1U);
  }

 private:
  static uint64_t round_up(uint64_t bytes) { return (bytes + page - 1) / page * page; }

  static void remake() {
    make_model(victim, size, {.seed = old_seed, .flags = LLMOS_MODEL_EVICTABLE | LLMOS_CREATE_REPLACE});
  }

  // There in full, or not at all.
  static void check_loaded() {
    const auto names = list_models();
    ASSERT_TRUE(names == std::set{victim} || names == (std::set{loaded, victim}));
    if (!names.contains(loaded)) return;
    const Fd fd = open_model(loaded);
    EXPECT_EQ(stat_of(loaded).state, static_cast<unsigned>(LLMOS_STATE_SEALED));
    EXPECT_EQ(measured_digest(fd), verity_digest(fd, stat_of(loaded).bytes));
    EXPECT_OK(model_remove(loaded));
  }

  // The old bytes, or the new ones, or evicted.
  static void check_victim() {
    const Fd fd = open_model(victim);
    const bool evicted = stat_of(victim).state == LLMOS_STATE_EVICTED;
    ASSERT_EQ(fd < 0, evicted);
    if (evicted) return remake();
    EXPECT_TRUE(!pattern_differs_in(fd, size, old_seed) || !pattern_differs_in(fd, size, new_seed))
        << "neither the old bytes nor the new";
  }
};

TEST_P(Kill, LeavesNothing) {
  const uint64_t moments = (setting("LLMOS_KILL_MOMENTS", 1000) + std::size(scenarios) - 1) / std::size(scenarios);
  const uint64_t seed = setting("LLMOS_SEED", 1);
  const double whole = length();
  for (uint64_t i = 0; i < moments && !HasFailure(); i++) {
    fuzz::Random random({seed, std::hash<std::string>()(GetParam().name), i});
    const double moment = whole * static_cast<double>(random.below(1000)) / 1000;
    SCOPED_TRACE("seed " + std::to_string(seed) + ", killed after " + std::to_string(moment) + " s");
    kill_at(moment);
  }
}

INSTANTIATE_TEST_SUITE_P(Minus9, Kill, testing::ValuesIn(scenarios),
                         [](const auto& info) { return std::string(info.param.name); });

// Around all of them: the memory of the machine, and the unloading of the module.
class Campaign : public testing::Environment {
 public:
  void SetUp() override {
    const Fd file(open(source_path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    write_pattern(file, 8 * MiB, new_seed);
    fsync(file);
    for (int i = 0; i < 3; i++) end_of(start(load)), model_remove(loaded);
    before_ = unaccounted_memory();
  }
  void TearDown() override {
    ::close(device());  // it holds the module
    EXPECT_EQ(reload_module(), "");
    unlink(source_path.c_str());
    const int64_t lost = unaccounted_memory() - before_;
    printf("memory that nobody accounts for: %+ld KiB\n", lost / 1024);
    EXPECT_LT(lost, unaccounted_tolerance());
  }

 private:
  int64_t before_ = 0;
};

const auto* const campaign = testing::AddGlobalTestEnvironment(new Campaign);

}  // namespace
}  // namespace llmos::guest
