// SPDX-License-Identifier: MIT
// A small random model of every architecture, and a real one where it is, on the CPU and through the whole CUDA path:
// the same greedy tokens, logits within a stated bound. Simulated.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "backend/cpu/dequantize.hpp"
#include "cuda/simulated.hpp"
#include "support/small_model.hpp"

namespace llmos::core {
namespace {

using test::logits_after;
using test::on_cuda;

EngineOptions on_cpu(size_t context = 256) {
  EngineOptions options;
  options.backend.kernels = "portable";
  options.backend.threads = 1;
  options.context = context;
  return options;
}

std::vector<TokenId> greedy_tokens(const std::shared_ptr<Engine>& engine, std::string_view prompt, size_t count) {
  GenerateOptions options = test::greedy(count);
  options.ignore_end = true;
  Session session(engine);
  session.start(prompt, options);
  std::vector<TokenId> tokens;
  while (const auto token = session.next())
    if (token->id != no_token) tokens.push_back(token->id);
  return tokens;
}

float largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  float most = 0;
  for (size_t i = 0; i < a.size(); i++) most = std::max(most, std::fabs(a[i] - b[i]));
  return most;
}

class CudaArchitectures : public test::Simulated, public testing::WithParamInterface<test::SmallArchitecture> {};
INSTANTIATE_TEST_SUITE_P(Every, CudaArchitectures, testing::ValuesIn(test::small_architectures), [](const auto& info) {
  return std::string(info.param.name) + (info.param.window ? "_window" : "");
});

// Logits here lie between about -5 and 5; 0.02 is what keys and values in half precision cost when sums come in another
// order. The text is longer than the windows.
TEST_P(CudaArchitectures, WriteAndScoreAsOnTheCpu) {
  const std::vector<std::byte> file = test::small_model(11, 64, 1, GetParam()).bytes();
  const auto cpu = test::open_engine(file, on_cpu()), cuda = test::open_engine(file, on_cuda());
  const std::string prompt = "w1 w7 w3 w50 w2";
  const std::vector<TokenId> tokens = cpu->tokenizer().encode(prompt + prompt + prompt + prompt);
  EXPECT_GT(tokens.size(), 20u);
  const std::vector<float> expected = logits_after(cpu, tokens);
  fake_cuda::take_launches();
  const float difference = largest_difference(logits_after(cuda, tokens), expected);
  const auto launches = fake_cuda::take_launches();
  EXPECT_EQ(std::ranges::count(launches, "llmos_flash_f16_64"), GetParam().layers);
  EXPECT_LT(difference, 0.02f);
  RecordProperty("difference", std::to_string(difference));
  EXPECT_EQ(greedy_tokens(cuda, prompt, 32), greedy_tokens(cpu, prompt, 32));
}

// The same model with its weights as floats. The CPU's kernels then do not round activations to bytes, as they do for
// quantised weights and CUDA's do not.
std::vector<std::byte> with_float_weights(std::span<const std::byte> file) {
  const Gguf gguf(file);
  const auto* const names = reinterpret_cast<const std::byte*>(gguf.tensors().front().name.data());
  std::vector<std::byte> out(file.begin(), file.begin() + (names - file.data() - 8));  // up to the table of tensors
  const auto put = [&](const auto& value) {
    const auto bytes = std::as_bytes(std::span(&value, 1));
    out.insert(out.end(), bytes.begin(), bytes.end());
  };
  uint64_t offset = 0;
  for (const GgufTensor& tensor : gguf.tensors()) {
    put(uint64_t{tensor.name.size()});
    const auto name = std::as_bytes(std::span(tensor.name));
    out.insert(out.end(), name.begin(), name.end());
    put(tensor.dimensions);
    for (uint32_t i = 0; i < tensor.dimensions; i++) put(tensor.shape[i]);
    put(static_cast<uint32_t>(TensorType::f32));
    put(offset);
    const TensorView view = gguf.tensor(tensor.name);
    offset += (view.rows() * view.columns() * sizeof(float) + 31) / 32 * 32;
  }
  const size_t data = (out.size() + 31) / 32 * 32;
  out.resize(data + offset);
  for (size_t at = data; const GgufTensor& tensor : gguf.tensors()) {
    const TensorView view = gguf.tensor(tensor.name);
    dequantize(view.type, view.data, view.rows() * view.columns(), reinterpret_cast<float*>(out.data() + at));
    at += (view.rows() * view.columns() * sizeof(float) + 31) / 32 * 32;
  }
  return out;
}

// Gemma 3 270M, Q4_K_M (weights of Q4_K, Q5_0, Q6_K and Q8_0), beside the CPU with the same weights as floats.
TEST(CudaGemma, WritesAsOnTheCpu) {
  const char* const given = std::getenv("LLMOS_GEMMA_270M");
  const char* const home = std::getenv("HOME");
  const std::filesystem::path path =
      given ? given : std::filesystem::path(home ? home : "") / ".cache/llmos/models/gemma-3-270m-q4_k_m.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is absent; LLMOS_GEMMA_270M can name it";
  constexpr char prompt[] = "The capital of France is";
  const std::vector<std::byte> file = test::read_bytes(path);
  EngineOptions cpu = on_cpu(128), cuda = on_cuda(128);
  cpu.backend.kernels.clear();  // the best there are
  cpu.cache_bytes = cuda.cache_bytes = 8 << 20;
  fake_cuda::reset({.memory = size_t{2} << 30});
  const std::vector<TokenId> expected = greedy_tokens(test::open_engine(with_float_weights(file), cpu), prompt, 32);
  EXPECT_EQ(expected.size(), 32u);
  EXPECT_EQ(greedy_tokens(test::open_engine(file, cuda), prompt, 32), expected);
  EXPECT_EQ(fake_cuda::ledger(), fake_cuda::Ledger{});
  EXPECT_EQ(fake_cuda::violations(), std::vector<std::string>{});
}

}  // namespace
}  // namespace llmos::core
