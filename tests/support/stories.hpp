// SPDX-License-Identifier: MIT
// The small trained model of the test data, and texts and logits from any engine: shared by the tests of all backends.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/session.hpp"
#include "support/test_data.hpp"

namespace llmos::test {

inline constexpr char sentence[] = "Lily and her mom went to the park. They saw a big, red ball.";

inline std::shared_ptr<core::Engine> open_engine(std::vector<std::byte> file, const core::EngineOptions& options) {
  auto bytes = std::make_shared<std::vector<std::byte>>(std::move(file));
  return std::make_shared<core::Engine>(*bytes, bytes, options);
}

inline std::shared_ptr<core::Engine> stories(const std::string& type, core::EngineOptions options = {}) {
  if (options.backend.threads == 0) options.backend.threads = 2;
  return open_engine(read_bytes(data_path("models/stories260K-" + type + ".gguf")), options);
}

inline core::GenerateOptions greedy(size_t tokens) {
  core::GenerateOptions options;
  options.max_tokens = tokens;
  options.sampling.temperature = 0;
  return options;
}

inline std::string write(core::Session& session, std::string_view prompt, const core::GenerateOptions& options) {
  std::string text;
  session.start(prompt, options);
  while (const auto token = session.next()) text += token->text;
  return text;
}

inline std::string write(const std::shared_ptr<core::Engine>& engine, std::string_view prompt, size_t tokens) {
  core::Session session(engine);
  return write(session, prompt, greedy(tokens));
}

inline std::vector<float> logits_after(const std::shared_ptr<core::Engine>& engine,
                                       std::span<const core::TokenId> tokens) {
  std::vector<float> logits;
  core::Sequence sequence(engine);
  const core::Feed feed{&sequence, tokens, core::Feed::Want::last_logits,
                        [&](size_t, std::span<const float> row) { logits.assign(row.begin(), row.end()); }};
  engine->step({&feed, 1});
  return logits;
}

inline void expect_first_logits(const std::shared_ptr<core::Engine>& engine) {
  const core::TokenId bos = 1;
  const std::vector<float> logits = logits_after(engine, {&bos, 1});
  const float expected[] = {-6.22282f, 8.40497f, -6.22365f, -6.22246f, -6.22186f};
  for (size_t i = 0; i < 5; i++) EXPECT_NEAR(logits[i], expected[i], 2e-5f) << i;
  EXPECT_EQ(std::max_element(logits.begin(), logits.end()) - logits.begin(), 403);
}

// Sessions that go through the layers together write what each writes alone.
inline void expect_batch_as_alone(const std::shared_ptr<core::Engine>& engine, size_t tokens) {
  const std::vector<std::string> prompts{"Once upon a time", "Tom and his dog", "", "The sun was so big that it", "A"};
  std::vector<std::string> alone, together(prompts.size());
  for (const std::string& prompt : prompts) alone.push_back(write(engine, prompt, tokens));
  std::vector<std::unique_ptr<core::Session>> sessions;
  std::vector<core::Session*> batch;
  for (const std::string& prompt : prompts) {
    sessions.push_back(std::make_unique<core::Session>(engine));
    sessions.back()->start(prompt, greedy(tokens));
    batch.push_back(sessions.back().get());
  }
  for (size_t step = 0; step <= tokens; step++) {
    core::Session::advance(batch);
    for (size_t i = 0; i < batch.size(); i++)
      if (const auto token = batch[i]->next()) together[i] += token->text;
  }
  EXPECT_EQ(together, alone);
}

}  // namespace llmos::test
