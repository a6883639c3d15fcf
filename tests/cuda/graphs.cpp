// SPDX-License-Identifier: MIT
// A step of one token a sequence is one graph, recorded once and repeated; and what happens where it cannot be.
// Simulated.
#include <cerrno>
#include <map>

#include "cuda/cuda_backend.hpp"
#include "cuda/simulated.hpp"
#include "support/failure.hpp"
#include "support/small_model.hpp"

namespace llmos::core {
namespace {

using namespace cuda;
using test::on_cuda;

class CudaGraphs : public test::Simulated {
 protected:
  static std::shared_ptr<Engine> small(EngineOptions options = on_cuda(256)) {
    return test::open_engine(test::small_model().bytes(), options);
  }
  // Calls since this was last asked.
  static std::map<std::string, size_t> calls() {
    std::map<std::string, size_t> counts;
    for (const std::string& call : fake_cuda::take_calls()) counts[call]++;
    return counts;
  }
};

constexpr char prompt[] = "w1 w2 w3";

TEST_F(CudaGraphs, StepsAreRecordedOnceAndThenStartedByOneCallEach) {
  const auto engine = small();
  Session session(engine);
  session.start(prompt, test::greedy(40));
  session.next();
  calls();
  session.next();
  auto first = calls();
  EXPECT_EQ(first["cuStreamBeginCapture_v2"], 1u);
  EXPECT_EQ(first["cuGraphLaunch"], 1u);
  EXPECT_GT(first["cuLaunchKernel"], 20u);
  for (int i = 0; i < 30; i++) session.next();
  auto later = calls();
  EXPECT_EQ(later["cuGraphLaunch"], 30u);
  EXPECT_EQ(later["cuLaunchKernel"] + later["cuStreamBeginCapture_v2"] + later["cuMemAlloc_v2"], 0u);
  EXPECT_LE(later["cuMemcpyHtoDAsync_v2"], 30u * 4 + 1);  // the token, its place, two tables of angles; a page
}

TEST_F(CudaGraphs, OnlyATokenComesBackFromAGreedyStep) {
  const auto engine = small();
  Session session(engine);
  session.start(prompt, test::greedy(40));
  session.next();
  const size_t before = fake_cuda::downloaded();
  for (int i = 0; i < 10; i++) session.next();
  EXPECT_EQ(fake_cuda::downloaded() - before, 10 * sizeof(uint64_t));
}

TEST_F(CudaGraphs, OtherNumbersOfSessionsAreOtherGraphs) {
  const auto engine = small();
  std::string alone;
  {
    Session session(engine);
    alone = test::write(session, prompt, test::greedy(6));
  }
  Session one(engine), two(engine);
  std::string of_one, of_two;
  one.start(prompt, test::greedy(6));
  two.start(prompt, test::greedy(6));
  calls();
  Session* both[] = {&one, &two};
  for (int i = 0; i < 6; i++) {
    Session::advance(both);
    of_one += one.next()->text;
    of_two += two.next()->text;
  }
  EXPECT_EQ(calls()["cuStreamBeginCapture_v2"], 1u);
  EXPECT_EQ(of_one, alone);
  EXPECT_EQ(of_two, alone);
}

// What graphs read a batch from has its whole room from the beginning.
TEST_F(CudaGraphs, StayWhenBatchesGrowAndNothingIsAllocatedAfterTheLoad) {
  EngineOptions options = on_cuda(512);
  options.batch_tokens = 310;
  const auto engine = small(options);
  const fake_cuda::Ledger loaded = fake_cuda::ledger();
  EXPECT_EQ(loaded.bytes, engine->placement().demand.bytes);
  EXPECT_EQ(loaded.blocks, engine->placement().demand.blocks);
  Session begun(engine), other(engine);
  begun.start(prompt, test::greedy(6));
  std::string text;
  for (int i = 0; i < 3; i++) text += begun.next()->text;
  calls();
  other.start(std::string(300, 'x'), test::greedy(1));
  other.next();
  while (const auto token = begun.next()) text += token->text;
  auto later = calls();
  EXPECT_EQ(later["cuGraphExecDestroy"] + later["cuStreamBeginCapture_v2"] + later["cuMemAlloc_v2"], 0u);
  EXPECT_EQ(fake_cuda::ledger().bytes, loaded.bytes);
  Session undisturbed(engine);
  EXPECT_EQ(text, test::write(undisturbed, prompt, test::greedy(6)));
}

// A backend that nobody told of the largest step moves what graphs read when a larger one comes.
TEST_F(CudaGraphs, AreRecordedAnewWhenWhatTheyReadHasMoved) {
  CudaBackend backend(0, test::image().empty() ? built_in_image() : test::image());
  const Awake awake(backend);
  const std::vector<float> values(64 * 8, 1.0f);
  TensorView table{.name = "table", .type = TensorType::f32, .shape = {8, 64, 1, 1}};
  table.data = reinterpret_cast<const std::byte*>(values.data());
  const TensorView adopted = backend.adopt(table);
  const Memory memory = backend.allocate(600 * 8 * sizeof(float));
  const auto repeat = [&](size_t rows) {
    const std::vector<int32_t> tokens(rows, 3);
    std::vector<core::Run> runs;
    for (size_t i = 0; i < rows; i++) runs.push_back({i, 1, 0, {}});
    backend.repeat({tokens, runs, {}}, 0, [&] {
      backend.embed(adopted, tokens, 1, {reinterpret_cast<float*>(memory.get()), rows, 8});
    });
    backend.synchronize();
  };
  for (const size_t rows : {1, 1, 600, 1}) repeat(rows);
  auto counts = calls();
  EXPECT_EQ(counts["cuStreamBeginCapture_v2"], 3u);
  EXPECT_EQ(counts["cuGraphExecDestroy"], 1u);
  EXPECT_EQ(counts["cuGraphLaunch"], 4u);
}

TEST_F(CudaGraphs, StepThatCannotBeRecordedIsIssuedCallByCall) {
  const std::string expected = test::write(small(), prompt, 5);
  for (const char* function : {"cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"}) {
    fake_cuda::reset();
    fake_cuda::fault(1, out_of_memory, function);
    EXPECT_EQ(test::write(small(), prompt, 5), expected) << function;
    auto counts = calls();
    EXPECT_TRUE(fake_cuda::fault_happened()) << function;
    EXPECT_EQ(counts["cuGraphLaunch"], 0u) << function;
    EXPECT_EQ(counts["cuStreamBeginCapture_v2"], 1u) << function;
  }
  fake_cuda::reset();
}

TEST_F(CudaGraphs, CancelWhileAStepIsRecordedLeavesTheSessionAsItWas) {
  const auto engine = small();
  const std::string expected = test::write(engine, prompt, 5);
  const auto fresh = small();
  Session session(fresh);
  session.start(prompt, test::greedy(5));
  std::string text = session.next()->text;
  session.cancel();
  EXPECT_FAILURE(ECANCELED, "cancelled", session.next());
  fake_cuda::fault(3, launch_out_of_resources, "cuLaunchKernel");  // amid the recording
  EXPECT_FAILURE(EIO, "LAUNCH_OUT_OF_RESOURCES", session.next());
  while (const auto token = session.next()) text += token->text;
  EXPECT_EQ(text, expected);
}

// The fake driver's own rules: what CUDA forbids while a thread captures fails there, and spoils the capture.
TEST_F(CudaGraphs, ForbiddenCallsSpoilACaptureInTheFakeDriverToo) {
  const auto image = test::image().empty() ? built_in_image() : test::image();
  Device device(0, image);
  const Device::Current current(device);
  const Driver& driver = device.driver();
  const StreamHandle stream = device.stream();
  Address address = device.allocate(64), more = 0;
  void* pinned = nullptr;
  EventHandle event = nullptr;
  ASSERT_EQ(driver.event_create(&event, event_disable_timing), success);
  ModuleHandle module = nullptr;
  const std::function<Result()> forbidden[] = {
      [&] { return driver.stream_synchronize(stream); },
      [&] { return driver.allocate(&more, 64); },
      [&] { return driver.free(address); },
      [&] { return driver.allocate_host(&pinned, 64, 0); },
      [&] { return driver.module_load(&module, image.data()); },
  };
  for (const auto& call : forbidden) {
    GraphHandle graph = nullptr;
    ASSERT_EQ(driver.capture_begin(stream, capture_this_thread), success);
    EXPECT_EQ(driver.capture_begin(stream, capture_this_thread), illegal_state);
    EXPECT_EQ(driver.fill_async(address, 1, 64, stream), success);
    EXPECT_EQ(call(), capture_unsupported);
    EXPECT_EQ(driver.fill_async(address, 1, 64, stream), capture_invalidated);
    EXPECT_EQ(driver.capture_end(stream, &graph), capture_invalidated);
    EXPECT_EQ(graph, nullptr);
    EXPECT_EQ(driver.capture_end(stream, &graph), illegal_state);
    EXPECT_EQ(driver.stream_synchronize(stream), success);
  }
  GraphHandle graph = nullptr;
  ASSERT_EQ(driver.capture_begin(stream, capture_this_thread), success);
  EXPECT_EQ(driver.event_record(event, stream), success);
  EXPECT_EQ(driver.event_synchronize(event), capture_unsupported);
  ASSERT_EQ(driver.capture_end(stream, &graph), success);
  EXPECT_EQ(driver.graph_destroy(graph), success);
  EXPECT_EQ(driver.event_destroy(event), success);
  device.release(address, 64);
}

}  // namespace
}  // namespace llmos::core
