// SPDX-License-Identifier: MIT
// What goes wrong on a device, at every call of load, prefill, decode and teardown: a clear error, the process lives,
// the next engine works, and nothing is left on the device. Simulated.
#include <algorithm>
#include <cerrno>
#include <optional>
#include <set>

#include "cuda/simulated.hpp"
#include "support/failure.hpp"
#include "support/small_model.hpp"

namespace llmos::core {
namespace {

using namespace cuda;
using test::on_cuda;

constexpr size_t tokens = 2;

// Calls that end something, or wait or make current for that: teardown goes on when one of them fails.
bool is_an_end(const std::string& function) {
  for (const char* part : {"Destroy", "Free", "Unload", "Unregister", "Release", "Pop", "Push", "StreamSynchronize"})
    if (function.find(part) != std::string::npos) return true;
  return false;
}

// Calls that record a step: without memory for it the step is issued call by call.
bool records(const std::string& function) {
  return function == "cuStreamBeginCapture_v2" || function == "cuStreamEndCapture" ||
         function == "cuGraphInstantiateWithFlags";
}

// A whole model on the device; a layer of two with its weights in place; and a layer that reads a prompt by tensor
// cores.
enum class Case { whole, split, prompt };

class CudaFaults : public test::Simulated, public testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    Simulated::SetUp();
    const bool prompt = GetParam() == Case::prompt;
    file_.emplace(
        test::small_model(2, 4, 1, {.layers = prompt ? 1u : 2u, .type = prompt ? TensorType::f16 : TensorType::f32})
            .bytes());
    run();  // starts the driver, once in a process: its own faults are in driver.cpp
    fake_cuda::reset();
    expected_ = run();
    calls_ = fake_cuda::take_calls();
    operations_ = fake_cuda::operations();
    ASSERT_EQ(fake_cuda::left_behind(), 0u);
    const std::vector<std::string> launches = fake_cuda::take_launches();
    for (const char* kernel : {"llmos_halve", "llmos_multiply_tiles_f16", "llmos_flash_f16_64"})
      ASSERT_EQ(std::ranges::count(launches, kernel) > 0, prompt) << kernel;
  }

  std::shared_ptr<Engine> open() { return file_->open(small()); }
  // Load, prefill, a recorded step, one that repeats it, teardown.
  std::string run() { return test::write(open(), prompt(), tokens + 1); }
  static const char* prompt() { return GetParam() == Case::prompt ? "a prompt of 20 bytes" : "w1"; }
  static EngineOptions small() {
    EngineOptions options = on_cuda(64);
    options.batch_tokens = GetParam() == Case::prompt ? 32 : 2;
    options.cache_bytes = 1 << 16;
    if (GetParam() != Case::split) return options;
    options.device_layers = 1;
    options.backend.threads = 1;
    options.backend.weights_in_place = true;
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
    EXPECT_EQ(fake_cuda::ledger(), fake_cuda::Ledger{}) << what;
    EXPECT_EQ(fake_cuda::violations(), std::vector<std::string>{}) << what;
  }

  // Lets every call of a run fail in turn, until a run has no such call any more.
  void fail_every_call(Result code, const std::set<int>& codes, bool may_go_unrecorded) {
    size_t nth = 1;
    for (;; nth++) {
      fake_cuda::reset();
      fake_cuda::fault(nth, code);
      const std::string call = nth <= calls_.size() ? calls_[nth - 1] : "none";
      const bool may_pass = call == "none" || is_an_end(call) || (may_go_unrecorded && records(call));
      expect_recovery("call " + std::to_string(nth) + ", " + call, codes, may_pass);
      if (!fake_cuda::fault_happened() || HasFatalFailure()) break;
    }
    EXPECT_GE(nth, calls_.size());
    EXPECT_GT(failures_, calls_.size() / 3);
    RecordProperty("calls", std::to_string(nth - 1));
    fake_cuda::reset();
    EXPECT_EQ(run(), expected_);
  }

  std::optional<test::MappedFile> file_;
  std::string expected_;
  std::vector<std::string> calls_;
  size_t operations_ = 0, failures_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Of, CudaFaults, testing::Values(Case::whole, Case::split, Case::prompt), [](const auto& info) {
  return info.param == Case::whole ? "whole" : info.param == Case::split ? "split" : "prompt";
});

TEST_P(CudaFaults, NoMemoryInAnyCallIsAnErrorAndLeavesNothing) { fail_every_call(out_of_memory, {ENOMEM, EIO}, true); }

TEST_P(CudaFaults, ContextLostInAnyCallIsAnErrorAndTheNextEngineWorks) {
  fail_every_call(ecc_uncorrectable, {EIO}, false);
}

// What the device does later fails where somebody waits for it.
TEST_P(CudaFaults, OperationThatFailsOnTheDeviceIsToldByWhoWaits) {
  constexpr Result codes[] = {launch_failed, illegal_address, launch_timeout};
  for (size_t nth = 1; nth <= operations_; nth++) {
    fake_cuda::reset();
    fake_cuda::fault_later(nth, codes[nth % std::size(codes)]);
    expect_recovery("operation " + std::to_string(nth), {EIO});
    EXPECT_TRUE(fake_cuda::fault_happened()) << nth;
  }
  EXPECT_EQ(failures_, operations_);
}

TEST_P(CudaFaults, TokensOfAStepThatFailedDoNotCountAndTheStepCanBeRepeated) {
  Session session(open());
  session.start(prompt(), test::greedy(tokens + 1));
  fake_cuda::fault(1, launch_out_of_resources, "cuLaunchKernel");
  EXPECT_FAILURE(EIO, "LAUNCH_OUT_OF_RESOURCES", session.next());
  EXPECT_EQ(session.position(), 0u);
  std::string text;
  while (const auto token = session.next()) text += token->text;
  EXPECT_EQ(text, expected_);
}

// A prompt, or the step after it, which is recorded: what was sent or launched before the failure does no harm.
TEST_P(CudaFaults, StepCanBeRepeatedWhicheverOfItsCallsFailed) {
  for (const size_t read : {0, 1}) {
    size_t failed = 0;
    for (size_t nth = 1;; nth++) {
      fake_cuda::reset();
      Session session(open());
      session.start(prompt(), test::greedy(tokens + 1));
      std::string text;
      for (size_t i = 0; i < read; i++) text += session.next()->text;
      fake_cuda::take_calls();
      fake_cuda::fault(nth, out_of_memory);
      try {
        text += session.next()->text;
      } catch (const Failure&) {
        failed++;
      }
      if (!fake_cuda::fault_happened()) break;
      const std::string call = fake_cuda::take_calls()[nth - 1];
      while (const auto token = session.next()) text += token->text;
      EXPECT_EQ(text, expected_) << "call " << nth << ", " << call << ", after " << read;
    }
    EXPECT_GT(failed, 10u);
  }
}

TEST_P(CudaFaults, LostContextEndsEveryEngineOnItAndSaysWhatToDo) {
  {
    const auto one = open(), two = open();
    fake_cuda::fault_later(1, illegal_address);
    EXPECT_FAILURE(EIO, "open another", test::write(one, prompt(), 1));
    EXPECT_FAILURE(EIO, "ILLEGAL_ADDRESS", test::write(one, prompt(), 1));
    EXPECT_FAILURE(EIO, "ILLEGAL_ADDRESS", test::write(two, prompt(), 1));
  }
  EXPECT_EQ(run(), expected_);
}

// Also when the weights would fit, and not what steps need besides.
TEST_P(CudaFaults, ModelThatDoesNotFitIsRefusedBeforeAnythingIsAllocated) {
  const size_t needed = open()->placement().demand.bytes;
  for (const size_t memory : {needed / 2, needed - 1}) {
    fake_cuda::reset({.memory = memory});
    EXPECT_FAILURE(ENOMEM, "smaller context", run());
    const auto calls = fake_cuda::take_calls();
    EXPECT_EQ(std::count(calls.begin(), calls.end(), "cuMemAlloc_v2"), 0);
    EXPECT_EQ(std::count(calls.begin(), calls.end(), "cuMemHostRegister_v2"), 0);
  }
  fake_cuda::reset({.memory = needed});
  EXPECT_EQ(run(), expected_);
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
