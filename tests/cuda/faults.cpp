// SPDX-License-Identifier: MIT
// What goes wrong on a device, at every call of load, prefill, decode and teardown: a clear error, the process lives,
// the next engine works, and nothing is left on the device. Simulated.
#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "cuda/simulated.hpp"
#include "support/failure.hpp"

namespace llmos::core {
namespace {

using namespace cuda;
using test::on_cuda;
using test::stories;

constexpr char prompt[] = "Lily and Tom";
constexpr size_t tokens = 2;

class CudaFaults : public test::Simulated {
 protected:
  void SetUp() override {
    LLMOS_NEED_DATA("models/stories260K-Q8_0.gguf");
    Simulated::SetUp();
    expected_ = run();
    calls_ = fake_cuda::take_calls();
    operations_ = fake_cuda::operations();
    ASSERT_EQ(fake_cuda::left_behind(), 0u);
  }

  // Load, prefill, decode, teardown.
  static std::string run() { return test::write(stories("Q8_0", small()), prompt, tokens); }
  static EngineOptions small() {
    EngineOptions options = on_cuda(64);
    options.batch_tokens = 8;
    return options;
  }

  // A run in which something is set to fail: either it ends in a Failure of one of these codes, or, where what failed
  // was part of ending something (`may_pass`), in the right text. Afterwards the device is empty.
  void expect_recovery(const std::string& what, const std::set<int>& codes, bool may_pass = false) {
    try {
      EXPECT_EQ(run(), expected_) << what;
      EXPECT_TRUE(may_pass) << what;
    } catch (const Failure& failure) {
      EXPECT_TRUE(codes.contains(failure.code())) << what << ": " << failure.code() << " " << failure.what();
      EXPECT_NE(std::string(failure.what()).find("CUDA_ERROR"), failure.code() == ENOMEM ? 0 : std::string::npos)
          << what << ": " << failure.what();
      failures_++;
    }
    EXPECT_TRUE(fake_cuda::fault_happened()) << what;
    EXPECT_EQ(fake_cuda::ledger(), fake_cuda::Ledger{}) << what;
    EXPECT_EQ(fake_cuda::violations(), std::vector<std::string>{}) << what;
    fake_cuda::reset();
  }

  std::string expected_;
  std::vector<std::string> calls_;
  size_t operations_ = 0, failures_ = 0;
};

// Calls that end something, or wait or make current for that: teardown goes on when one of them fails.
bool is_an_end(const std::string& function) {
  for (const char* part : {"Destroy", "Free", "Unload", "Release", "Pop", "Push", "StreamSynchronize"})
    if (function.find(part) != std::string::npos) return true;
  return false;
}

// Calls that record a step: without memory for it the step is issued call by call.
bool records(const std::string& function) {
  return function == "cuStreamBeginCapture_v2" || function == "cuStreamEndCapture" ||
         function == "cuGraphInstantiateWithFlags";
}

// The calls of a run by function, and of each the first, the second, some in the middle and the last.
std::map<std::string, std::set<size_t>> places(const std::vector<std::string>& calls) {
  std::map<std::string, size_t> counts;
  for (const std::string& call : calls) counts[call]++;
  counts.erase("cuInit");  // once in a process: see driver.cpp
  counts.erase("cuDriverGetVersion");
  std::map<std::string, std::set<size_t>> chosen;
  for (const auto& [function, count] : counts)
    for (const size_t nth : {size_t{1}, size_t{2}, count / 3, count / 2, count - 1, count})
      if (nth >= 1 && nth <= count) chosen[function].insert(nth);
  return chosen;
}

TEST_F(CudaFaults, NoMemoryInAnyCallIsAnErrorAndLeavesNothing) {
  for (const auto& [function, chosen] : places(calls_))
    for (const size_t nth : chosen) {
      fake_cuda::fault(nth, out_of_memory, function);
      expect_recovery(function + " " + std::to_string(nth), {ENOMEM, EIO}, is_an_end(function) || records(function));
    }
  EXPECT_GT(failures_, 50u);
  EXPECT_EQ(run(), expected_);
}

TEST_F(CudaFaults, ContextLostInAnyCallIsAnErrorAndTheNextEngineWorks) {
  for (const auto& [function, chosen] : places(calls_))
    for (const size_t nth : chosen) {
      fake_cuda::fault(nth, ecc_uncorrectable, function);
      expect_recovery(function + " " + std::to_string(nth), {EIO}, is_an_end(function));
    }
  EXPECT_GT(failures_, 50u);
  EXPECT_EQ(run(), expected_);
}

// What the device does later fails where somebody waits for it.
TEST_F(CudaFaults, OperationThatFailsOnTheDeviceIsToldByWhoWaits) {
  const size_t step = operations_ / 20 + 1;
  for (const Result code : {launch_failed, illegal_address, launch_timeout})
    for (size_t nth = 1 + static_cast<size_t>(code) % 7; nth <= operations_; nth += step) {
      fake_cuda::fault_later(nth, code);
      expect_recovery("operation " + std::to_string(nth), {EIO});
    }
  EXPECT_GT(failures_, 50u);
}

TEST_F(CudaFaults, TokensOfAStepThatFailedDoNotCountAndTheStepCanBeRepeated) {
  const auto engine = stories("Q8_0", small());
  Session session(engine);
  session.start(prompt, test::greedy(tokens));
  fake_cuda::fault(1, launch_out_of_resources, "cuLaunchKernel");
  EXPECT_FAILURE(EIO, "LAUNCH_OUT_OF_RESOURCES", session.next());
  EXPECT_EQ(session.position(), 0u);
  std::string text;
  while (const auto token = session.next()) text += token->text;
  EXPECT_EQ(text, expected_);
}

TEST_F(CudaFaults, LostContextEndsEveryEngineOnItAndSaysWhatToDo) {
  {
    const auto one = stories("Q8_0", small()), two = stories("Q8_0", small());
    fake_cuda::fault_later(1, illegal_address);
    EXPECT_FAILURE(EIO, "open another", test::write(one, prompt, 1));
    EXPECT_FAILURE(EIO, "ILLEGAL_ADDRESS", test::write(one, prompt, 1));
    EXPECT_FAILURE(EIO, "ILLEGAL_ADDRESS", test::write(two, prompt, 1));
  }
  EXPECT_EQ(run(), expected_);
}

TEST_F(CudaFaults, ModelThatDoesNotFitIsRefusedBeforeAnythingIsCopied) {
  fake_cuda::reset({.memory = 100000});
  EXPECT_FAILURE(ENOMEM, "weights take", run());
  const auto calls = fake_cuda::take_calls();
  EXPECT_EQ(std::count(calls.begin(), calls.end(), "cuMemAlloc_v2"), 0);
  fake_cuda::reset({.memory = 500000});  // the weights fit, the cache does not
  EXPECT_FAILURE(ENOMEM, "smaller context", run());
}

void read_device_memory() {
  BackendOptions options;
  options.device = "cuda:0";
  options.cuda_image = test::image();
  const auto backend = make_backend(options);
  const Memory memory = backend->allocate(64);
  const volatile std::byte* place = memory.get();
  std::exit(static_cast<int>(*place));
}

// The test of the test: host code that touches device memory dies, as it should.
TEST(CudaFaultsDeathTest, DeviceMemoryCannotBeReadByTheHost) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  fake_cuda::reset();
  EXPECT_DEATH(read_device_memory(), "");
}

}  // namespace
}  // namespace llmos::core
