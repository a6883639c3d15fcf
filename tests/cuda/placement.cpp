// SPDX-License-Identifier: MIT
// Layers on the device and on the host, and weights used in place: the same text wherever they are, and no byte more of
// the device than was said. Simulated.
#include <cerrno>
#include <cmath>
#include <llmos/llmos.hpp>

#include "cuda/simulated.hpp"
#include "support/failure.hpp"
#include "support/small_model.hpp"

namespace llmos::core {
namespace {

using namespace cuda;
using test::logits_after;
using test::on_cuda;
using test::sentence;
using test::stories;

constexpr size_t layers = 5, unit = 2 << 20;  // of stories260K; what the backend leaves for each block

EngineOptions with_layers(size_t count, size_t context = 256) {
  EngineOptions options = on_cuda(context);
  options.device_layers = count;
  options.backend.threads = 1;
  options.backend.kernels = "portable";
  options.batch_tokens = 32;
  return options;
}

float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  float most = 0;
  for (size_t i = 0; i < a.size(); i++) most = std::max(most, std::fabs(a[i] - b[i]));
  return most;
}

class CudaPlacement : public test::Simulated {
 protected:
  void SetUp() override {
    LLMOS_NEED_DATA("models/stories260K-F32.gguf");
    Simulated::SetUp();
  }
  static size_t launches(const std::string& kernel) {
    const auto all = fake_cuda::take_launches();
    return static_cast<size_t>(std::count(all.begin(), all.end(), kernel));
  }
  static test::MappedFile mapped(const std::string& type) {
    return test::MappedFile(test::read_bytes(test::data_path("models/stories260K-" + type + ".gguf")));
  }
};

TEST_F(CudaPlacement, EverySplitWritesTheCpusTextAndLogits) {
  EngineOptions cpu;
  cpu.backend.kernels = "portable";
  cpu.context = 256;
  const auto reference = stories("F32", cpu);
  const std::vector<TokenId> tokens = reference->tokenizer().encode(sentence);
  const std::vector<float> expected = logits_after(reference, tokens);
  const std::string text = test::write(reference, "Once upon a time", 32);
  size_t before = 0;
  for (size_t count = 0; count <= layers; count++) {
    fake_cuda::reset();
    const auto engine = stories("F32", with_layers(count));
    EXPECT_EQ(engine->placement().device_layers(), count);
    const size_t loaded = fake_cuda::ledger().bytes;
    EXPECT_EQ(loaded, engine->placement().demand.bytes);
    EXPECT_GT(loaded, before);
    before = loaded;
    EXPECT_LT(largest_difference(logits_after(engine, tokens), expected), 2e-2f) << count;
    fake_cuda::take_launches();
    test::write(engine, "Once upon a time", 1);
    EXPECT_EQ(launches("llmos_attend_f16"), count) << "one for each layer on the device";
    EXPECT_EQ(test::write(engine, "Once upon a time", 32), text) << count;
    EXPECT_EQ(fake_cuda::ledger().bytes, loaded) << "nothing is allocated after the load";
  }
}

TEST_F(CudaPlacement, SessionsOfASplitModelShareBatchesAndCancel) {
  test::expect_batch_as_alone(stories("F32", with_layers(2)), 6);
  const auto engine = stories("F32", with_layers(3));
  const size_t pages = engine->cache().available();
  const std::string text = test::write(engine, "Once", 8);
  EXPECT_EQ(engine->cache().available(), pages);
  Session session(engine);
  session.start("Once", test::greedy(8));
  session.cancel();
  EXPECT_FAILURE(ECANCELED, "cancelled", session.next());
  std::string found;
  while (const auto token = session.next()) found += token->text;
  EXPECT_EQ(found, text);
}

// A cache of two pages in each part: who rewinds has to give back both parts' for the next sequence to have them.
TEST_F(CudaPlacement, PagesOfBothPartsComeBackFromWhoRewinds) {
  const auto file = test::small_model(3).bytes();
  EngineOptions options = with_layers(1, 128);
  const auto roomy = test::open_engine(file, options);
  options.cache_bytes = 2 * roomy->cache_bytes() / roomy->cache().capacity();
  const auto engine = test::open_engine(file, options);
  ASSERT_EQ(engine->cache().capacity(), 2u);
  const std::vector<TokenId> tokens(100, 260);
  Sequence first(engine);
  const Feed feed{&first, tokens, Feed::Want::nothing, {}};
  engine->step({&feed, 1});
  EXPECT_FAILURE(ENOMEM, "cache", logits_after(engine, tokens));
  first.rewind(0);
  EXPECT_EQ(logits_after(engine, tokens), logits_after(roomy, tokens));
}

TEST_F(CudaPlacement, EightBitCacheLiesWhereItsLayerRuns) {
  EngineOptions options = with_layers(2);
  options.cache_type = CacheType::q8_0;
  const auto file = test::small_model(3, 64, 1, {.name = "llama", .head_size = 32, .layers = 3}).bytes();
  EngineOptions cpu;
  cpu.backend.kernels = "portable";
  cpu.context = 256;
  cpu.cache_type = CacheType::q8_0;
  const auto reference = test::open_engine(file, cpu), split = test::open_engine(file, options);
  const auto tokens = reference->tokenizer().encode("w1 w7 w3 w50 w2");
  EXPECT_LT(largest_difference(logits_after(split, tokens), logits_after(reference, tokens)), 0.05f);
}

// The windows and kinds of layers stay with their layers, whichever side of the boundary they are on.
TEST_F(CudaPlacement, LayersKeepTheirKindsInEverySplitOfAGemma) {
  const test::SmallArchitecture& gemma3 = test::small_architectures[6];
  const auto file = test::small_model(11, 64, 1, gemma3).bytes();
  EngineOptions cpu;
  cpu.backend.kernels = "portable";
  cpu.context = 256;
  const auto reference = test::open_engine(file, cpu);
  const auto tokens = reference->tokenizer().encode("w1 w7 w3 w50 w2 w1 w7 w3 w50 w2 w9 w8 w5");
  const std::vector<float> expected = logits_after(reference, tokens);
  for (const size_t count : {1, 2, 6})
    EXPECT_LT(largest_difference(logits_after(test::open_engine(file, with_layers(count)), tokens), expected), 0.02f)
        << count;
}

TEST_F(CudaPlacement, AutoTakesAsManyLayersAsThereIsMemoryForAndNoByteMore) {
  const std::string text = test::write(stories("F32", with_layers(layers)), "Once", 4);
  for (size_t count = 0; count <= layers; count++) {
    fake_cuda::reset();
    const Demand demand = stories("F32", with_layers(count))->placement().demand;
    const size_t enough = demand.bytes + demand.blocks * unit;
    fake_cuda::reset({.memory = enough});
    {
      const auto engine = stories("F32", with_layers(fitting_layers));
      EXPECT_EQ(engine->placement().device_layers(), count);
      EXPECT_EQ(fake_cuda::ledger().bytes, demand.bytes);
      EXPECT_EQ(fake_cuda::ledger().blocks, demand.blocks);
      EXPECT_EQ(test::write(engine, "Once", 4), text);
    }
    if (count == 0) continue;
    fake_cuda::reset({.memory = enough - 1});
    EXPECT_EQ(stories("F32", with_layers(fitting_layers))->placement().device_layers(), count - 1);
  }
  fake_cuda::reset({.memory = 1 << 16});
  EXPECT_FAILURE(ENOMEM, "0 of the model's 5 layers need", stories("F32", with_layers(fitting_layers)));
  EXPECT_FAILURE(ENOMEM, "2 of the model's 5 layers need", stories("F32", with_layers(2)));
  const auto calls = fake_cuda::take_calls();
  EXPECT_EQ(std::count(calls.begin(), calls.end(), "cuMemAlloc_v2"), 0);
}

// A larger context or batch leaves room for fewer layers.
TEST_F(CudaPlacement, AutoCountsTheCacheAndTheBatch) {
  const Demand demand = stories("F32", with_layers(3))->placement().demand;
  fake_cuda::reset({.memory = demand.bytes + demand.blocks * unit});
  EXPECT_EQ(stories("F32", with_layers(fitting_layers))->placement().device_layers(), 3u);
  EXPECT_LT(stories("F32", with_layers(fitting_layers, 512))->placement().device_layers(), 3u);
  EngineOptions batch = with_layers(fitting_layers);
  batch.batch_tokens = 64;
  EXPECT_LT(stories("F32", batch)->placement().device_layers(), 3u);
}

TEST_F(CudaPlacement, NumbersOfLayersThatMakeNoSenseAreToldOrTakenAsAll) {
  EXPECT_EQ(stories("F32", with_layers(99))->placement().device_layers(), layers);
  EngineOptions cpu = with_layers(2);
  cpu.backend.device = "cpu";
  EXPECT_FAILURE(EINVAL, "the device is 'cpu'", stories("F32", cpu));
  cpu.device_layers = fitting_layers;
  EXPECT_EQ(stories("F32", cpu)->placement().device_layers(), layers);
  EXPECT_EQ(stories("F32", cpu)->placement().demand.bytes, 0u);
}

TEST_F(CudaPlacement, WeightsInPlaceGiveTheSameBitsAndTakeNoDeviceMemory) {
  for (const char* type : {"F32", "F16"}) {
    fake_cuda::reset();
    const test::MappedFile file = mapped(type);
    EngineOptions options = with_layers(layers);
    options.device_layers = all_layers;
    const auto copied = file.open(options);
    options.backend.weights_in_place = true;
    const auto in_place = file.open(options), another = file.open(options);
    EXPECT_EQ(fake_cuda::ledger().registered, 1u) << "two engines share it";
    EXPECT_LT(in_place->placement().demand.bytes + (300 << 10), copied->placement().demand.bytes) << type;
    const auto tokens = copied->tokenizer().encode(sentence);
    EXPECT_EQ(logits_after(in_place, tokens), logits_after(copied, tokens)) << type;
    EXPECT_EQ(test::write(another, "Once", 12), test::write(copied, "Once", 12)) << type;
  }
}

// Blocks of quantised weights are packed on their way, so copied; what else the file has stays where it is.
TEST_F(CudaPlacement, WeightsThatKernelsCannotReadInPlaceAreCopied) {
  const test::MappedFile file = mapped("Q8_0");
  EngineOptions options = with_layers(3);
  const auto copied = file.open(options);
  options.backend.weights_in_place = true;
  const auto in_place = file.open(options);
  EXPECT_LE(in_place->placement().demand.bytes, copied->placement().demand.bytes);
  const auto tokens = copied->tokenizer().encode(sentence);
  EXPECT_EQ(logits_after(in_place, tokens), logits_after(copied, tokens));
}

TEST_F(CudaPlacement, DeviceThatCannotReadReadOnlyMemoryIsToldSo) {
  fake_cuda::reset({.registers_read_only = false});
  EngineOptions options = with_layers(all_layers);
  options.backend.weights_in_place = true;
  EXPECT_FAILURE(ENOTSUP, "cannot read read-only memory", mapped("F32").open(options));
}

// The fake driver's own rules of registration.
TEST_F(CudaPlacement, RegistrationIsCheckedByTheFakeDriverToo) {
  const auto image = test::image().empty() ? built_in_image() : test::image();
  cuda::Device device(0, image);
  const cuda::Device::Current current(device);
  const Driver& driver = device.driver();
  constexpr size_t page = 4096;
  auto* const pages =
      static_cast<std::byte*>(mmap(nullptr, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  mprotect(pages, 2 * page, PROT_READ);
  constexpr unsigned both = register_device_map | register_read_only;
  Address address = 0;
  EXPECT_EQ(driver.host_register(pages + 1, page, both), invalid_value);
  EXPECT_EQ(driver.host_register(pages, 100, both), invalid_value);
  EXPECT_EQ(driver.host_register(pages, page, register_device_map), invalid_value) << "they cannot be written";
  EXPECT_EQ(driver.host_register(pages, page, register_read_only), invalid_value) << "no address on the device";
  EXPECT_EQ(driver.host_register(pages, 2 * page, both), success);
  EXPECT_EQ(driver.host_register(pages + page, 2 * page, both), already_registered);
  EXPECT_EQ(driver.host_device_pointer(&address, pages + page, 0), success);
  EXPECT_NE(address, reinterpret_cast<Address>(pages + page));
  EXPECT_EQ(driver.host_device_pointer(&address, pages + 2 * page, 0), invalid_value);
  EXPECT_EQ(driver.host_unregister(pages + page), not_registered);
  EXPECT_EQ(driver.host_unregister(pages), success);
  EXPECT_EQ(driver.host_unregister(pages), not_registered);
  munmap(pages, 4 * page);
}

TEST_F(CudaPlacement, PublicOptionsSayWhatRunsWhere) {
  if (built_in_image().empty()) GTEST_SKIP() << "built without nvcc, so without kernels";
  const llmos::Model model = llmos::Store::memory().load(test::data_path("models/stories260K-F32.gguf"));
  llmos::EngineOptions options{.device = "cuda:0", .threads = 1, .context = 128};
  const auto write = [&] {
    const llmos::Engine engine(model, options);
    EXPECT_EQ(engine.info().device_bytes, fake_cuda::ledger().bytes);
    return std::pair(engine.info().device_layers, engine.generate("Once", {.max_tokens = 8, .temperature = 0}).text());
  };
  const auto [all, text] = write();
  EXPECT_EQ(all, layers);
  options.weights = llmos::Weights::in_place;
  options.device_layers = 2;
  EXPECT_EQ(write(), std::pair(uint64_t{2}, text));
  options.device_layers = llmos::auto_layers;
  EXPECT_EQ(write(), std::pair(uint64_t{layers}, text));
  options.device_layers = -2;
  try {
    const llmos::Engine engine(model, options);
    FAIL();
  } catch (const llmos::Error& error) {
    EXPECT_EQ(error.code(), EINVAL);
  }
}

}  // namespace
}  // namespace llmos::core
