// SPDX-License-Identifier: MIT
// A real trained model, end to end: the text it is known to write, from every set of kernels, alone and in a batch.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cmath>
#include <numeric>
#include <thread>

#include "backend/cpu/kernels.hpp"
#include "engine/measure.hpp"
#include "support/failure.hpp"
#include "support/stories.hpp"

namespace llmos::core {
namespace {

using test::greedy;
using test::logits_after;
using test::sentence;
using test::stories;
using test::write;

EngineOptions with_kernels(std::string_view name) {
  EngineOptions options;
  options.backend.kernels = name;
  return options;
}

double cosine(std::span<const float> a, std::span<const float> b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); i++) ab += double{a[i]} * b[i], aa += double{a[i]} * a[i], bb += double{b[i]} * b[i];
  return ab / std::sqrt(aa * bb);
}

class Stories : public testing::Test {
  void SetUp() override { LLMOS_NEED_DATA("models/stories260K-F32.gguf"); }
};

TEST_F(Stories, FloatFilesWriteTheKnownTextByteForByte) {
  const std::string expected = test::read_text(test::data_path("models/stories260K.expected.txt"));
  for (const Kernels* kernels : usable_kernels())
    for (const char* type : {"F32", "F16"}) {
      Session session(stories(type, with_kernels(kernels->name)));
      EXPECT_EQ(write(session, "", greedy(200)) + "\n", expected) << type << " " << kernels->name;
      EXPECT_EQ(session.finish(), Finish::length);
    }
}

TEST_F(Stories, FirstLogitsAreTheKnownOnes) { test::expect_first_logits(stories("F32")); }

// The stated errors of quantised files: the cosine of their logits with those of the F32 file, over a text.
TEST_F(Stories, QuantisedFilesKeepTheirStatedLogitError) {
  const auto exact = stories("F32");
  const std::vector<TokenId> tokens =
      exact->tokenizer().encode("Once upon a time, there was a little girl named Lily.");
  const std::pair<const char*, double> bounds[] = {{"F16", 0.99999}, {"Q8_0", 0.9995}, {"Q4_0", 0.97}};
  for (const auto& [type, bound] : bounds) {
    const auto engine = stories(type);
    for (size_t count = 1; count <= tokens.size(); count++) {
      const auto part = std::span(tokens).first(count);
      EXPECT_GT(cosine(logits_after(exact, part), logits_after(engine, part)), bound) << type << " after " << count;
    }
  }
}

// Sets round activations differently: how far their logits of a prompt may lie apart.
TEST_F(Stories, EverySetReadsAPromptToTheSameLogits) {
  const std::pair<const char*, double> bounds[] = {
      {"F32", 0.999999}, {"F16", 0.999999}, {"Q8_0", 0.9998}, {"Q4_0", 0.9998}};
  for (const auto& [type, bound] : bounds) {
    const auto reference = stories(type, with_kernels("portable"));
    const auto tokens = reference->tokenizer().encode(sentence);
    const std::vector<float> expected = logits_after(reference, tokens);
    for (const Kernels* kernels : usable_kernels()) {
      const double found = cosine(expected, logits_after(stories(type, with_kernels(kernels->name)), tokens));
      EXPECT_GT(found, bound) << type << " " << kernels->name;
      RecordProperty(std::string(type) + "_" + std::string(kernels->name), std::to_string(1 - found));
    }
  }
}

TEST_F(Stories, BatchOfSessionsWritesWhatEachWritesAlone) { test::expect_batch_as_alone(stories("F32"), 60); }

TEST_F(Stories, PromptReadInPiecesGivesTheSameLogits) {
  const auto whole = stories("F32");
  const auto tokens = whole->tokenizer().encode(sentence);
  const std::vector<float> expected = logits_after(whole, tokens);
  for (const size_t batch : {1, 2, 3, 5, 7, 64}) {
    EngineOptions options;
    options.batch_tokens = batch;
    const std::vector<float> logits = logits_after(stories("F32", options), tokens);
    for (size_t i = 0; i < logits.size(); i++) ASSERT_NEAR(logits[i], expected[i], 1e-2f) << batch;
    EXPECT_GT(cosine(logits, expected), 0.999999) << batch;
  }
}

TEST_F(Stories, ThreadCountIsRepeatedToTheBit) {
  for (const unsigned threads : {1u, 2u, 3u, 5u}) {
    EngineOptions options;
    options.backend.threads = threads;
    const auto engine = stories("Q4_0", options);
    const auto tokens = engine->tokenizer().encode("The cat sat on a mat and the dog ran after it all day long.");
    EXPECT_EQ(logits_after(engine, tokens), logits_after(engine, tokens)) << threads;
  }
}

TEST_F(Stories, ScoresAreTheLogitsLogProbabilities) {
  const auto engine = stories("F32");
  const auto tokens = engine->tokenizer().encode("Once upon a time there was a cat.");
  const std::vector<float> scores = score(engine, tokens);
  ASSERT_EQ(scores.size(), tokens.size());
  EXPECT_EQ(scores[0], 0);
  for (size_t i = 1; i < tokens.size(); i++) {
    const std::vector<float> logits = logits_after(engine, std::span(tokens).first(i));
    double sum = 0;
    for (const float logit : logits) sum += std::exp(double{logit});
    EXPECT_NEAR(scores[i], logits[static_cast<size_t>(tokens[i])] - std::log(sum), 1e-3) << i;
  }
  const auto nonsense = engine->tokenizer().encode("zq xk vv jjj qqq");
  const auto mean = [](const std::vector<float>& all) {
    return std::accumulate(all.begin(), all.end(), 0.0) / all.size();
  };
  EXPECT_GT(mean(scores), mean(score(engine, nonsense)));
}

TEST_F(Stories, EmbeddingsAreOfLengthOneAndCloserForLikerTexts) {
  const auto engine = stories("F32");
  const auto of = [&](std::string_view text, Pooling pooling) {
    return embed(engine, engine->tokenizer().encode(text), pooling);
  };
  for (const Pooling pooling : {Pooling::mean, Pooling::last}) {
    const std::vector<float> a = of("The little girl played in the park.", pooling);
    const std::vector<float> b = of("The little boy played in the park.", pooling);
    const std::vector<float> c = of("\"No!\" he said. \"Stop it now!\"", pooling);
    EXPECT_NEAR(std::inner_product(a.begin(), a.end(), a.begin(), 0.0), 1, 1e-5);
    EXPECT_GT(cosine(a, b), cosine(a, c));
  }
}

TEST_F(Stories, EightBitCacheStaysClose) {
  // Heads of 8 components are too small for blocks of 32.
  EngineOptions options;
  options.cache_type = CacheType::q8_0;
  EXPECT_FAILURE(ENOTSUP, "multiple of 32", stories("F32", options));
}

TEST_F(Stories, CancelFromAnotherThreadEndsTheStepAndTheSessionGoesOn) {
  EngineOptions options;
  options.batch_tokens = 4;
  const auto engine = stories("F32", options);
  Session session(engine);
  const std::string long_prompt = "Once upon a time, there was a little girl named Lily. She loved to play outside. ";
  session.start(long_prompt + long_prompt + long_prompt, greedy(5));
  std::atomic<bool> started{false};
  std::thread other([&] {
    while (!started) std::this_thread::yield();
    session.cancel();
  });
  const auto slow = [&](size_t, size_t) {
    started = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return true;
  };
  EXPECT_FAILURE(ECANCELED, "cancelled", session.next(slow));
  other.join();
  const size_t read = session.position();
  EXPECT_GT(read, 0u);
  std::string text;
  while (const auto token = session.next()) text += token->text;

  Session undisturbed(engine);
  EXPECT_EQ(text, write(undisturbed, long_prompt + long_prompt + long_prompt, greedy(5)));
}

// Also who has not begun to compute, because another session does.
TEST_F(Stories, CancelReachesASessionThatWaitsForAnother) {
  const auto engine = stories("F32");
  const std::vector<TokenId> tokens{1, 403, 5};
  Sequence busy(engine), waiting(engine);
  std::atomic<bool> computing{false}, done{false};
  std::thread other([&] {
    const Feed feed{&busy, tokens, Feed::Want::last_logits, [&](size_t, std::span<const float>) {
                      computing = true;
                      done.wait(false);
                    }};
    engine->step({&feed, 1});
  });
  while (!computing) std::this_thread::yield();
  waiting.cancel();
  const Feed feed{&waiting, tokens, Feed::Want::nothing, {}};
  EXPECT_FAILURE(ECANCELED, "waited", engine->step({&feed, 1}));
  done = true;
  done.notify_one();
  other.join();
  engine->step({&feed, 1});
  EXPECT_EQ(waiting.position(), tokens.size());
}

// A server that forks after it opened its engine: its children are told, and end.
TEST_F(Stories, ForkedProcessHasNoEngine) {
  EngineOptions options;
  options.backend.threads = 3;
  auto engine = stories("F32", options);
  Session(engine).start("Once", greedy(1));
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    int code = 0;
    try {
      Session session(engine);
      session.start("Once", greedy(1));
      session.next();
    } catch (const Failure& failure) {
      code = failure.code();
    }
    engine.reset();
    _exit(code);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "ended by signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), EINVAL);
  Session session(engine);
  EXPECT_FALSE(write(session, "Once", greedy(3)).empty());
}

TEST_F(Stories, ProgressCountsTokensAndCanStop) {
  EngineOptions options;
  options.batch_tokens = 4;
  const auto engine = stories("F32", options);
  const auto tokens = engine->tokenizer().encode("Once upon a time, there was a little girl named Lily.");
  std::vector<size_t> heard;
  Sequence sequence(engine);
  const Feed feed{&sequence, tokens, Feed::Want::nothing, {}};
  const auto stop_at_8 = [&](size_t done, size_t total) {
    EXPECT_EQ(total, tokens.size());
    heard.push_back(done);
    return done < 8;
  };
  EXPECT_FAILURE(ECANCELED, "after 8 of", engine->step({&feed, 1}, stop_at_8));
  EXPECT_EQ(heard, (std::vector<size_t>{4, 8}));
  EXPECT_EQ(sequence.position(), 8u);
}

TEST_F(Stories, ThrowingSinkEndsTheStepWhichCanBeRepeatedAndLeaksNoPage) {
  const auto engine = stories("F32");
  const size_t available = engine->cache().available();
  {
    Sequence sequence(engine);
    const std::vector<TokenId> tokens{1, 403, 5};
    const Feed throws{&sequence, tokens, Feed::Want::all_logits,
                      [](size_t, std::span<const float>) { throw std::runtime_error("enough"); }};
    EXPECT_THROW(engine->step({&throws, 1}), std::runtime_error);
    EXPECT_EQ(sequence.position(), 0u);
    std::vector<float> logits;
    const Feed repeated{&sequence, tokens, Feed::Want::last_logits,
                        [&](size_t, std::span<const float> row) { logits.assign(row.begin(), row.end()); }};
    engine->step({&repeated, 1});
    EXPECT_EQ(logits, logits_after(engine, tokens));
  }
  EXPECT_EQ(engine->cache().available(), available);
}

TEST_F(Stories, CacheBudgetIsKeptAndItsEndIsAnError) {
  EngineOptions options;
  options.cache_bytes = 1;
  EXPECT_FAILURE(EINVAL, "less than one page", stories("F32", options));
  options.cache_bytes =
      2 * 5 * 4 * 2 * 64 * 8 * 2;  // two pages: layers, heads, keys and values, positions, half floats
  const auto engine = stories("F32", options);
  EXPECT_EQ(engine->cache().capacity(), 2u);
  Session first(engine), second(engine);
  EXPECT_NE(write(first, "", greedy(64)), "");
  EXPECT_NE(write(second, "", greedy(10)), "");
  second.start("", greedy(100));
  const auto to_the_end = [](Session& session) {
    while (session.next()) {
    }
  };
  EXPECT_FAILURE(ENOMEM, "give the engine more", to_the_end(second));
  first.reset();
  to_the_end(second);
  EXPECT_EQ(second.finish(), Finish::length);
}

TEST_F(Stories, ContextEndsTheTextAndRefusesLongerPrompts) {
  EngineOptions options;
  options.context = 16;
  const auto engine = stories("F32", options);
  Session session(engine);
  session.start("", greedy(0));
  size_t tokens = 0;
  while (session.next()) tokens++;
  EXPECT_EQ(session.finish(), Finish::length);
  EXPECT_EQ(session.position(), 16u);
  EXPECT_EQ(tokens, 16u);
  Session other(engine);
  other.start("Once upon a time, there was a little girl named Lily. She loved to play outside.", greedy(5));
  EXPECT_FAILURE(ENOSPC, "context of 16", other.next());
}

TEST_F(Stories, RewoundSequenceReadsOnAsIfItHadNeverBeenFurther) {
  const auto engine = stories("F32");
  const auto tokens = engine->tokenizer().encode("Once upon a time there was a dog and a cat and a bird.");
  Sequence sequence(engine);
  std::vector<float> logits;
  const auto read = [&](std::span<const TokenId> part) {
    const Feed feed{&sequence, part, Feed::Want::last_logits,
                    [&](size_t, std::span<const float> row) { logits.assign(row.begin(), row.end()); }};
    engine->step({&feed, 1});
  };
  read(tokens);
  const std::vector<float> expected = logits;
  sequence.rewind(5);
  EXPECT_EQ(sequence.position(), 5u);
  read(std::span(tokens).subspan(5));
  for (size_t i = 0; i < logits.size(); i++) ASSERT_NEAR(logits[i], expected[i], 2e-3f);
  EXPECT_FAILURE(EINVAL, "cannot rewind", sequence.rewind(1000));
}

TEST_F(Stories, StopStringsAndSeedsWork) {
  const auto engine = stories("F32");
  GenerateOptions options = greedy(200);
  options.stop = {"big, red"};
  Session session(engine);
  const std::string text = write(session, "", options);
  EXPECT_EQ(session.finish(), Finish::stop_string);
  EXPECT_TRUE(text.ends_with("she saw a ")) << text;

  GenerateOptions warm = greedy(40);
  warm.sampling.temperature = 1;
  warm.sampling.seed = 7;
  Session one(engine), two(engine), three(engine);
  const std::string first = write(one, "", warm);
  EXPECT_EQ(first, write(two, "", warm));
  warm.sampling.seed = 8;
  EXPECT_NE(first, write(three, "", warm));
}

TEST_F(Stories, SessionsOfSeveralThreadsTakeTurns) {
  const auto engine = stories("F32");
  Session alone(engine);
  const std::string expected = write(alone, "", greedy(40));
  std::vector<std::string> texts(4);
  {
    std::vector<std::jthread> threads;
    for (std::string& text : texts)
      threads.emplace_back([&] {
        Session session(engine);
        text = write(session, "", greedy(40));
      });
  }
  for (const std::string& text : texts) EXPECT_EQ(text, expected);
}

TEST_F(Stories, WrongStepsAreRefused) {
  const auto engine = stories("F32"), other = stories("F32");
  Sequence sequence(engine), stranger(other);
  const TokenId token = 1, unknown = 512, negative = -1;
  const auto step = [&](Sequence& s, std::span<const TokenId> tokens) {
    const Feed feed{&s, tokens, Feed::Want::nothing, {}};
    engine->step({&feed, 1});
  };
  EXPECT_FAILURE(EINVAL, "no token", step(sequence, {}));
  EXPECT_FAILURE(EINVAL, "another engine", step(stranger, {&token, 1}));
  EXPECT_FAILURE(EINVAL, "token 512", step(sequence, {&unknown, 1}));
  EXPECT_FAILURE(EINVAL, "token -1", step(sequence, {&negative, 1}));
  const Feed twice[] = {{&sequence, {&token, 1}, Feed::Want::nothing, {}},
                        {&sequence, {&token, 1}, Feed::Want::nothing, {}}};
  EXPECT_FAILURE(EINVAL, "twice", engine->step(twice));
}

}  // namespace
}  // namespace llmos::core
