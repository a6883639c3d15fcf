// SPDX-License-Identifier: MIT
// Tokens drawn from the best logits that the device has found are those drawn from all of them. Simulated.
#include <cerrno>

#include "cuda/simulated.hpp"
#include "support/failure.hpp"
#include "support/small_model.hpp"

namespace llmos::core {
namespace {

using test::on_cuda;

class CudaSampling : public test::Simulated {
 protected:
  static std::vector<TokenId> draw(const std::shared_ptr<Engine>& engine, const SamplerOptions& sampling) {
    GenerateOptions options;
    options.max_tokens = 12;
    options.ignore_end = true;
    options.sampling = sampling;
    Session session(engine);
    session.start("w1 w2", options);
    std::vector<TokenId> tokens;
    while (const auto token = session.next())
      if (token->id != no_token) tokens.push_back(token->id);
    return tokens;
  }
};

TEST_F(CudaSampling, DrawsTheSameTokensAsFromAllLogits) {
  const auto engine = test::open_engine(test::small_model(3).bytes(), on_cuda());
  for (const uint32_t top_k : {5u, 128u, 129u, 0u})
    for (const float top_p : {0.5f, 1.0f})
      for (const float temperature : {0.0f, 2.0f}) {
        if (temperature == 0 && top_p < 1) continue;
        SamplerOptions some{.temperature = temperature, .top_k = top_k, .top_p = top_p, .min_p = 0, .seed = top_k + 1};
        const size_t before = fake_cuda::downloaded();
        const std::vector<TokenId> found = draw(engine, some);
        const size_t bytes = fake_cuda::downloaded() - before;
        EXPECT_EQ(found.size(), 12u);
        const bool on_device = temperature == 0 || (top_k > 0 && top_k <= Backend::most_best);
        if (on_device || top_p == 1) {  // otherwise it depends on the logits
          EXPECT_EQ(bytes < 12 * engine->config().vocabulary * sizeof(float), on_device) << top_k << " " << temperature;
        }
        some.log_probabilities = 1;  // takes all logits
        EXPECT_EQ(found, draw(engine, some)) << top_k << " " << top_p << " " << temperature;
      }
}

// Without top-k: 128 logits of 3259 and one number for the rest, when the tokens that top-p and min-p leave are among
// them; all of them otherwise. The same tokens either way.
TEST_F(CudaSampling, TopPAndMinPBringBackAFewNumbersWhereTheseAreEnough) {
  constexpr size_t steps = 12;
  constexpr size_t few = steps * (most_best * sizeof(uint64_t) + sizeof(double)), all = steps * 3259 * sizeof(float);
  EngineOptions on_cpu;
  on_cpu.backend.kernels = "portable";
  on_cpu.context = 256;
  for (const float sharpness : {0.2f, 40.0f}) {
    const std::vector<std::byte> file = test::small_model(3, 3000, sharpness).bytes();
    const auto engine = test::open_engine(file, on_cuda()), cpu = test::open_engine(file, on_cpu);
    ASSERT_EQ(engine->config().vocabulary, 3259u);
    for (const auto& [top_p, min_p] : std::vector<std::pair<float, float>>{{0.6f, 0}, {1, 0.1f}, {0.9f, 0.05f}})
      for (const uint32_t top_k : {0u, 2000u}) {
        SamplerOptions sampling{.temperature = 1.5f, .top_k = top_k, .top_p = top_p, .min_p = min_p, .seed = 5};
        const size_t before = fake_cuda::downloaded();
        const std::vector<TokenId> found = draw(engine, sampling);
        const size_t bytes = fake_cuda::downloaded() - before;
        if (sharpness > 1) {
          EXPECT_EQ(bytes, top_p < 1 ? few : steps * most_best * sizeof(uint64_t)) << top_p << " " << top_k;
          EXPECT_EQ(found, draw(cpu, sampling)) << top_p << " " << min_p << " " << top_k;
        } else {  // thousands of tokens are about as likely, and the last digits of their logits decide
          EXPECT_GT(bytes, all) << top_p << " " << top_k;
        }
        sampling.log_probabilities = 1;  // takes all logits
        EXPECT_EQ(found, draw(engine, sampling)) << sharpness << " " << top_p << " " << min_p << " " << top_k;
      }
  }
}

TEST_F(CudaSampling, SessionsOfABatchEachGetWhatTheyWant) {
  const auto engine = test::open_engine(test::small_model(3).bytes(), on_cuda());
  const SamplerOptions kinds[] = {{.temperature = 0},
                                  {.temperature = 1, .top_k = 7},
                                  {.temperature = 1, .top_k = 0},
                                  {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0},
                                  {.temperature = 1, .top_k = 0, .top_p = 0.3f, .min_p = 0.2f},
                                  {.temperature = 0, .repeat_penalty = 1.3f},
                                  {.temperature = 0, .log_probabilities = 3}};
  std::vector<std::unique_ptr<Session>> sessions;
  std::vector<Session*> batch;
  for (const SamplerOptions& kind : kinds) {
    GenerateOptions options;
    options.max_tokens = 12;
    options.ignore_end = true;
    options.sampling = kind;
    sessions.push_back(std::make_unique<Session>(engine));
    sessions.back()->start("w1 w2", options);
    batch.push_back(sessions.back().get());
  }
  std::vector<std::vector<TokenId>> tokens(sessions.size());
  for (int step = 0; step < 12; step++) {
    Session::advance(batch);
    for (size_t i = 0; i < batch.size(); i++) tokens[i].push_back(batch[i]->next()->id);
  }
  for (size_t i = 0; i < batch.size(); i++) EXPECT_EQ(tokens[i], draw(engine, kinds[i])) << i;
}

// What was found for one sampler may be too little for the next: the last token is then read again.
TEST_F(CudaSampling, AnotherSamplerForTheSameTokenGetsItsLogits) {
  const auto engine = test::open_engine(test::small_model(3).bytes(), on_cuda());
  const SamplerOptions wide{.temperature = 1, .top_k = 30, .seed = 9};
  GenerateOptions narrow = test::greedy(12), others = narrow;
  narrow.ignore_end = others.ignore_end = true;
  others.sampling = wide;
  Session session(engine);
  session.start("w1 w2", narrow);
  Session* self = &session;
  Session::advance({&self, 1});
  const size_t position = session.position();
  session.start("", others);
  EXPECT_EQ(session.position(), position - 1);
  std::vector<TokenId> tokens;
  while (const auto token = session.next())
    if (token->id != no_token) tokens.push_back(token->id);
  EXPECT_EQ(tokens, draw(engine, wide));
}

TEST_F(CudaSampling, LogitsThatAreNoNumbersAreTheSamplersError) {
  test::GgufWriter broken = test::small_model(3, 64, 3e38f);  // the sums overflow
  const auto engine = test::open_engine(broken.bytes(), on_cuda());
  EXPECT_FAILURE(EDOM, "the logit of token", test::write(engine, "w1 w2", 3));
}

}  // namespace
}  // namespace llmos::core
