// SPDX-License-Identifier: MIT
// Products of many tokens by cuBLASLt: a library that stands for it, on the fake driver. Simulated.
#include <cerrno>
#include <map>

#include "cuda/operations.hpp"
#include "fake_cuda/library.hpp"
#include "support/failure.hpp"
#include "support/small_model.hpp"

namespace llmos::core {
namespace {

using namespace cuda;
using test::exact;
using test::Floats;
using test::logits_after;
using test::Weight;

const fake_cuda::Settings newest{.version = 13000};
constexpr char prompt[] = "w1 w7 w3 w50";  // about 20 tokens
constexpr Result not_supported = 801;

EngineOptions with_cublas(size_t context = 128) {
  EngineOptions options = test::on_cuda(context);
  options.backend.cublas = true;
  options.cache_bytes = 1 << 20;
  return options;
}

class CudaCublas : public test::Simulated {
 protected:
  void SetUp() override { fake_cuda::reset(newest); }
  void TearDown() override {
    Simulated::TearDown();
    EXPECT_EQ(fake_cuda::cublas_lt_objects(), 0u);
  }
  static std::map<std::string, size_t> calls() {
    std::map<std::string, size_t> counts;
    for (const std::string& call : fake_cuda::take_calls()) counts[call]++;
    return counts;
  }
  static size_t launches(const std::string& begins) {
    const auto all = fake_cuda::take_launches();
    return static_cast<size_t>(
        std::ranges::count_if(all, [&](const std::string& name) { return name.starts_with(begins); }));
  }
  static std::vector<std::byte> model(TensorType type, uint32_t layers = 2) {
    return test::small_model(3, 64, 1, {.layers = layers, .type = type}).bytes();
  }
};

// First, while the library has not been found yet.
TEST_F(CudaCublas, IsNotLookedForWhereItIsNotWantedOrTheDriverIsOlder) {
  fake_cuda::reset({.version = 12080});
  const auto old = test::open_engine(model(TensorType::f16), with_cublas());
  EXPECT_EQ(old->device(), "CUDA, simulated GPU");
  test::write(old, prompt, 2);
  EXPECT_GT(launches("llmos_multiply_tiles"), 0u);
}

TEST_F(CudaCublas, IsNamedWhereItIsUsed) {
  EXPECT_EQ(test::open_engine(model(TensorType::f16), with_cublas())->device(), "CUDA, simulated GPU, cuBLASLt 13.0.0");
  EXPECT_EQ(test::open_engine(model(TensorType::f16), test::on_cuda())->device(), "CUDA, simulated GPU");
  calls();
  const auto off = test::open_engine(model(TensorType::f16), test::on_cuda());
  test::write(off, prompt, 2);
  EXPECT_EQ(calls()["cublasLtCreate"], 0u);
}

TEST_F(CudaCublas, QuantisedWeightsStayWithTheKernelsThatUnpackThem) {
  LLMOS_NEED_DATA("models/stories260K-Q4_0.gguf");
  const auto engine = test::stories("Q4_0", with_cublas());
  test::write(engine, test::sentence, 2);
  EXPECT_EQ(calls()["cublasLtMatmul"], 5u) << "one matrix of the five layers is F16: its rows are not whole blocks";
  EXPECT_GE(launches("llmos_multiply_tiles_q4_0"), 5u * 3);
}

TEST_F(CudaCublas, TakesPromptsFromSixteenTokensAndNoRecordedStep) {
  const auto engine = test::open_engine(model(TensorType::f16), with_cublas());
  const std::vector<TokenId> all = engine->tokenizer().encode(prompt);
  ASSERT_GE(all.size(), 18u);
  calls();
  logits_after(engine, std::span(all).first(15));
  EXPECT_EQ(calls()["cublasLtMatmul"], 0u);
  logits_after(engine, std::span(all).first(16));
  EXPECT_EQ(calls()["cublasLtMatmul"], 2u * 7);  // layers, matrices
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<Session*> batch;
  for (int i = 0; i < 16; i++) {
    sessions.push_back(std::make_unique<Session>(engine));
    sessions.back()->start("w1", test::greedy(4));
    batch.push_back(sessions.back().get());
  }
  Session::advance(batch);
  calls();
  for (int i = 0; i < 3; i++) {
    for (Session* one : batch) one->next();
    Session::advance(batch);
  }
  auto counts = calls();
  EXPECT_EQ(counts["cuGraphLaunch"], 3u);
  EXPECT_EQ(counts["cublasLtMatmul"], 0u);
}

TEST_F(CudaCublas, IsAskedOnceForAShape) {
  const auto engine = test::open_engine(model(TensorType::bf16), with_cublas());
  const std::vector<TokenId> all = engine->tokenizer().encode(prompt);
  logits_after(engine, std::span(all).first(17));
  EXPECT_GT(calls()["cublasLtMatmulAlgoGetHeuristic"], 3u);
  logits_after(engine, std::span(all).first(17));
  EXPECT_EQ(calls()["cublasLtMatmulAlgoGetHeuristic"], 0u);
  logits_after(engine, std::span(all).first(18));
  EXPECT_GT(calls()["cublasLtMatmulAlgoGetHeuristic"], 3u);
}

// A trained model goes on with the text that it is known to write, whose beginning it was given.
TEST_F(CudaCublas, StoriesGoOnAsTheyAreKnownToAndLogitsAreTheCpus) {
  LLMOS_NEED_DATA("models/stories260K-F32.gguf");
  const std::string expected = test::read_text(test::data_path("models/stories260K.expected.txt"));
  const std::string begun = expected.substr(0, 100);
  for (const char* type : {"F32", "F16"}) {
    const auto engine = test::stories(type, with_cublas(256));
    calls();
    const std::string text = begun + test::write(engine, begun, 60);
    EXPECT_GT(calls()["cublasLtMatmul"], 5u * 7 - 1) << type;
    EXPECT_EQ(text, expected.substr(0, text.size())) << type;
    EngineOptions cpu;
    cpu.backend.kernels = "portable";
    const auto tokens = engine->tokenizer().encode(test::sentence);
    const std::vector<float> wanted = logits_after(test::stories(type, cpu), tokens),
                             found = logits_after(engine, tokens);
    for (size_t i = 0; i < found.size(); i++) ASSERT_NEAR(found[i], wanted[i], 2e-2f) << type;
  }
}

TEST_F(CudaCublas, EveryArchitectureWritesWhatTheCpuWrites) {
  for (const TensorType type : {TensorType::f32, TensorType::f16, TensorType::bf16})
    for (test::SmallArchitecture architecture : test::small_architectures) {
      architecture.type = type;
      const std::vector<std::byte> file = test::small_model(11, 64, 1, architecture).bytes();
      EngineOptions cpu;
      cpu.backend.kernels = "portable";
      cpu.backend.threads = 1;
      cpu.context = 128;
      const auto reference = test::open_engine(file, cpu), engine = test::open_engine(file, with_cublas());
      const auto tokens = reference->tokenizer().encode(prompt);
      const std::vector<float> wanted = logits_after(reference, tokens), found = logits_after(engine, tokens);
      for (size_t i = 0; i < found.size(); i++)
        ASSERT_NEAR(found[i], wanted[i], 2e-2f) << architecture.name << " " << static_cast<int>(type);
      EXPECT_EQ(test::write(engine, prompt, 8), test::write(reference, prompt, 8)) << architecture.name;
      EXPECT_EQ(engine->device(), "CUDA, simulated GPU, cuBLASLt 13.0.0");
    }
}

// ---- Products by themselves ----

class CudaCublasProducts : public CudaCublas {
 protected:
  void SetUp() override {
    CudaCublas::SetUp();
    const auto given = test::image();
    backend = std::make_unique<CudaBackend>(0, given.empty() ? built_in_image() : given, true);
    backend->begin();
  }
  void TearDown() override {
    if (backend) backend->end();
    backend.reset();
    CudaCublas::TearDown();
  }
  test::OnDevice put(size_t rows, size_t columns, const Floats& values = {}) {
    return {*backend, rows, columns, values};
  }
  // Tokens of very different sizes: none overflows and none is lost.
  Floats activations(size_t tokens, size_t columns) {
    Floats x = test::normal(tokens * columns, random);
    for (size_t t = 0; t < tokens; t++)
      for (size_t i = 0; i < columns; i++) x[t * columns + i] *= std::pow(10.0f, static_cast<float>(t % 13) - 6);
    return x;
  }
  // Of a sum's size: what rounding activations to halves costs at most, or to two brain floats, or sums of floats.
  static double bound(TensorType type, double size, size_t columns) {
    if (type == TensorType::f16) return size * (1.5e-3 / std::sqrt(static_cast<double>(columns)) + 1e-4);
    return size * (type == TensorType::bf16 ? 2e-5 : 1e-6);
  }
  static void expect_product(const Floats& found, const Weight& weight, const Floats& x, const Floats& bias) {
    const size_t rows = weight.view.rows(), columns = weight.view.columns(), tokens = x.size() / columns;
    for (size_t t = 0; t < tokens; t++)
      for (size_t r = 0; r < rows; r++) {
        const auto [sum, size] = exact(weight, x, t, r);
        const double added = bias.empty() ? 0 : bias[r];
        ASSERT_NEAR(found[t * rows + r], sum + added, bound(weight.view.type, size, columns) + 1e-6 * std::fabs(added))
            << static_cast<int>(weight.view.type) << " " << rows << "x" << columns << " token " << t << " row " << r;
      }
  }

  static constexpr TensorType types[] = {TensorType::f32, TensorType::f16, TensorType::bf16};
  std::unique_ptr<CudaBackend> backend;
  std::mt19937_64 random{1};
};

TEST_F(CudaCublasProducts, AgreeWithDoublePrecisionOnAwkwardShapes) {
  for (const TensorType type : types)
    for (const size_t columns : {7, 300})
      for (const size_t rows : {3, 70, 1100})
        for (const size_t tokens : {16, 33}) {
          const Weight weight(type, rows, columns, random);
          const Floats x = activations(tokens, columns), bias = test::normal(rows, random, 1e-3f);
          const auto in = put(tokens, columns, x), out = put(tokens, rows), bias_in = put(1, rows, bias);
          const bool biased = rows != 70;
          calls();
          fake_cuda::take_launches();
          backend->multiply(in.matrix,
                            {{backend->adopt(weight.view), biased ? bias_in.matrix.data : nullptr, out.matrix}});
          expect_product(out.read(), weight, x, biased ? bias : Floats{});
          EXPECT_EQ(calls()["cublasLtMatmul"], type == TensorType::bf16 ? 2u : 1u);
          EXPECT_EQ(launches("llmos_multiply"), 0u);
          if (HasFatalFailure()) return;
        }
}

TEST_F(CudaCublasProducts, SeveralAtOnceEachGoToTheirPlaceWithTheirBias) {
  const size_t columns = 96, tokens = 21;
  for (const TensorType type : types) {
    const Weight q(type, 61, columns, random), k(type, 7, columns, random), v(TensorType::q8_0, 66, columns, random);
    const Floats x = activations(tokens, columns), bias = test::normal(7, random);
    const auto in = put(tokens, columns, x), bias_in = put(1, 7, bias);
    const auto q_out = put(tokens, 61), k_out = put(tokens, 7), v_out = put(tokens, 66);
    backend->multiply(in.matrix, {{backend->adopt(q.view), nullptr, q_out.matrix},
                                  {backend->adopt(k.view), bias_in.matrix.data, k_out.matrix},
                                  {backend->adopt(v.view), nullptr, v_out.matrix}});
    expect_product(q_out.read(), q, x, {});
    expect_product(k_out.read(), k, x, bias);
    EXPECT_GT(launches("llmos_multiply_tiles_q8_0"), 0u);
  }
}

TEST_F(CudaCublasProducts, GatedOneIsTheActivationOfOneTimesTheOther) {
  for (const TensorType type : types)
    for (const Activation activation : {Activation::silu, Activation::gelu}) {
      const size_t tokens = 18, columns = 160, rows = 43;
      const Weight gate(type, rows, columns, random), up(type, rows, columns, random);
      const Floats x = test::normal(tokens * columns, random, 4);
      const auto in = put(tokens, columns, x), out = put(tokens, rows), scratch = put(tokens, rows);
      backend->multiply_gated(in.matrix, backend->adopt(gate.view), backend->adopt(up.view), activation, out.matrix,
                              scratch.matrix);
      const Floats found = out.read();
      for (size_t i = 0; i < found.size(); i++) {
        const auto [g, g_size] = exact(gate, x, i / rows, i % rows);
        const auto [u, u_size] = exact(up, x, i / rows, i % rows);
        const double factor = test::activated(activation, g);  // whose slope is at most 1.13
        const double error =
            1.13 * bound(type, g_size, columns) * std::fabs(u) + bound(type, u_size, columns) * std::fabs(factor);
        ASSERT_NEAR(found[i], factor * u, error + 1e-5) << i << " type " << static_cast<int>(type);
      }
    }
}

TEST_F(CudaCublasProducts, WithoutMemoryToWorkInOurOwnKernelsDoIt) {
  const size_t columns = 64, tokens = 17, rows = 50;
  const Weight weight(TensorType::f16, rows, columns, random);
  const Floats x = activations(tokens, columns);
  const auto in = put(tokens, columns, x), out = put(tokens, rows);
  const TensorView adopted = backend->adopt(weight.view);
  fake_cuda::take_launches();
  fake_cuda::fault(2, out_of_memory, "cuMemAlloc_v2");  // the first is for the halves
  backend->multiply(in.matrix, {{adopted, nullptr, out.matrix}});
  expect_product(out.read(), weight, x, {});
  EXPECT_EQ(launches("llmos_multiply_tiles_f16"), 1u);
  EXPECT_EQ(backend->description(), "CUDA, simulated GPU, cuBLASLt 13.0.0 in part");
}

// ---- Faults ----

class CudaCublasFaults : public CudaCublas {
 protected:
  void SetUp() override {
    CudaCublas::SetUp();
    for (const TensorType type : {TensorType::f16, TensorType::bf16}) files_.push_back(model(type, 1));
  }
  static EngineOptions options() {
    EngineOptions options = with_cublas(64);
    options.cache_bytes = 1 << 16;
    return options;
  }
  static std::string run(const std::vector<std::byte>& file) {
    return test::write(test::open_engine(file, options()), prompt, 2);
  }
  // Lets the n-th call of cuBLASLt fail, for every n. `lost`: with it goes the context.
  void fail_every_call(const std::vector<std::byte>& file, Result code, bool lost) {
    run(file);  // finds the library
    fake_cuda::reset(newest);
    const std::string expected = run(file);
    auto all = fake_cuda::take_calls();
    std::erase_if(all, [](const std::string& call) { return !call.starts_with("cublasLt"); });
    ASSERT_GT(all.size(), 50u);
    for (auto call = all.begin(); call != all.end(); ++call) {
      fake_cuda::reset(newest);
      fake_cuda::fault(static_cast<size_t>(std::count(all.begin(), call + 1, *call)), code, *call);
      const bool ends = call->find("Destroy") != call->npos;
      bool failed = false;
      try {
        EXPECT_EQ(run(file), expected) << *call;
      } catch (const Failure& failure) {
        failed = true;
        EXPECT_EQ(failure.code(), EIO) << failure.what();
        EXPECT_NE(std::string(failure.what()).find("open another"), std::string::npos) << failure.what();
      }
      EXPECT_TRUE(failed == lost || (ends && lost)) << *call << " " << call - all.begin();
      EXPECT_TRUE(fake_cuda::fault_happened());
      EXPECT_EQ(fake_cuda::ledger(), fake_cuda::Ledger{}) << *call;
      EXPECT_EQ(fake_cuda::cublas_lt_objects(), 0u) << *call;
      EXPECT_EQ(lost ? 0 : fake_cuda::left_behind(), 0u) << *call;
      if (HasFailure()) return;
    }
    fake_cuda::reset(newest);
    EXPECT_EQ(run(file), expected);
  }
  std::vector<std::vector<std::byte>> files_;
};

TEST_F(CudaCublasFaults, RefusalOfAnyCallIsMadeUpForByOurOwnKernels) {
  fail_every_call(files_[1], not_supported, false);
}
TEST_F(CudaCublasFaults, NoMemoryInAnyCallIsMadeUpForByOurOwnKernels) {
  fail_every_call(files_[0], out_of_memory, false);
}
TEST_F(CudaCublasFaults, ContextLostInAnyCallIsAnErrorAndTheNextEngineWorks) {
  fail_every_call(files_[1], ecc_uncorrectable, true);
}

// The driver's calls, too, those around the library's among them.
TEST_F(CudaCublasFaults, NoMemoryInAnyCallOfTheDriverLeavesNothing) {
  const std::string expected = run(files_[0]);
  const size_t count = fake_cuda::take_calls().size();
  for (size_t nth = 1; nth <= count; nth++) {
    fake_cuda::reset(newest);
    fake_cuda::fault(nth, out_of_memory);
    try {
      EXPECT_EQ(run(files_[0]), expected) << nth;
    } catch (const Failure& failure) {
      EXPECT_TRUE(failure.code() == ENOMEM || failure.code() == EIO) << nth << ": " << failure.what();
    }
    EXPECT_EQ(fake_cuda::ledger(), fake_cuda::Ledger{}) << nth;
    EXPECT_EQ(fake_cuda::cublas_lt_objects(), 0u) << nth;
  }
  fake_cuda::reset(newest);
}

TEST_F(CudaCublasFaults, ShapeThatWasRefusedIsNotTriedAgain) {
  const auto engine = test::open_engine(files_[0], options());
  const std::vector<TokenId> all = engine->tokenizer().encode(prompt);
  const std::vector<float> expected = logits_after(engine, all);
  const size_t products = calls()["cublasLtMatmul"];
  fake_cuda::fault(1, not_supported, "cublasLtMatmul");
  logits_after(engine, all);
  EXPECT_EQ(engine->device(), "CUDA, simulated GPU, cuBLASLt 13.0.0 in part");
  calls();
  const std::vector<float> found = logits_after(engine, all);
  EXPECT_LT(calls()["cublasLtMatmul"], products);
  for (size_t i = 0; i < found.size(); i++) ASSERT_NEAR(found[i], expected[i], 2e-2f);
}

}  // namespace
}  // namespace llmos::core
