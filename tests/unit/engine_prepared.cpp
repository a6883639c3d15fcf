// SPDX-License-Identifier: MIT
// The prepared index, and the public API over a whole model: made, found, refused when it is not this model's.
#include <gtest/gtest.h>

#include <cerrno>
#include <llmos/llmos.hpp>

#include "engine/engine.hpp"
#include "engine/prepared.hpp"
#include "support/failure.hpp"
#include "support/test_data.hpp"

namespace llmos {
namespace {

const char* const file = "models/stories260K-F32.gguf";

class Prepared : public testing::Test {
  void SetUp() override { LLMOS_NEED_DATA(file); }

 protected:
  const core::Digest digest_{1, 2, 3};
};

TEST_F(Prepared, IndexGivesTheSameHeaderAndVocabulary) {
  const std::vector<std::byte> model = test::read_bytes(test::data_path(file));
  const std::vector<std::byte> bytes = core::make_index(model, digest_);
  EXPECT_LT(bytes.size(), 200u << 10);
  const auto index = core::attach_index(bytes, nullptr, model, digest_);
  ASSERT_TRUE(index);
  EXPECT_EQ(core::Gguf(index->header, model).tensor("token_embd.weight").data,
            core::Gguf(model).tensor("token_embd.weight").data);
  EXPECT_EQ(core::Vocabulary::view(index->vocabulary).size(), 512u);
}

TEST_F(Prepared, StaleForeignAndDamagedIndexesAreRefused) {
  const std::vector<std::byte> model = test::read_bytes(test::data_path(file));
  const std::vector<std::byte> good = core::make_index(model, digest_);
  const auto attaches = [&](const std::vector<std::byte>& index, const core::Digest& digest) {
    return core::attach_index(index, nullptr, model, digest).has_value();
  };
  EXPECT_TRUE(attaches(good, digest_));
  EXPECT_FALSE(attaches(good, core::Digest{9}));  // another model
  std::vector<std::byte> cut(good.begin(), good.end() - 1);
  EXPECT_FALSE(attaches(cut, digest_));
  EXPECT_FALSE(attaches({}, digest_));
  for (size_t at = 0; at < 112;
       at++) {  // header and sections: a changed byte is refused or changes nothing that is read
    std::vector<std::byte> changed = good;
    changed[at] ^= std::byte{0xff};
    if (at < 64)
      EXPECT_EQ(attaches(changed, digest_), at >= 12 && at < 16) << at;  // more sections than are needed
    else
      attaches(changed, digest_);
  }
}

std::string story(const Model& model) {
  Engine engine(model, {.threads = 1});
  return engine.generate("", {.max_tokens = 200, .temperature = 0}).text();
}

TEST_F(Prepared, StoreKeepsTheIndexBesideTheModelAndTheEngineRunsOnIt) {
  const std::string expected = test::read_text(test::data_path("models/stories260K.expected.txt"));
  Store store = Store::memory();
  const Model model = store.load(test::data_path(file), {.name = "prepared-story"});
  EXPECT_EQ(story(model) + "\n", expected);
  EXPECT_TRUE(prepare(model));
  EXPECT_FALSE(prepare(model));
  EXPECT_EQ(store.open("prepared-story.index").name(), "prepared-story.index");
  EXPECT_EQ(story(model) + "\n", expected);
  store.remove("prepared-story.index");
  Writer foreign = store.create({.name = "prepared-story.index", .bytes = 4096});
  foreign.seal();
  EXPECT_EQ(story(model) + "\n", expected);  // not an index: left alone
  EXPECT_TRUE(prepare(model));               // and replaced
}

TEST_F(Prepared, EngineOutlivesTheModelHandleAndSessionsOutliveTheEngine) {
  std::optional<Session> session;
  {
    Store store = Store::memory();
    Engine engine(store.load(test::data_path(file), {.name = "outlived"}), {.threads = 2});
    session = engine.session();
  }
  EXPECT_EQ(session->generate("Once upon", {.max_tokens = 3, .temperature = 0}).text(), " a time,");
}

TEST_F(Prepared, PublicApiTokenizesScoresEmbedsAndStreams) {
  Store store = Store::memory();
  Engine engine(store.load(test::data_path(file), {.name = "api"}), {.threads = 2, .context = 256});
  const EngineInfo info = engine.info();
  EXPECT_EQ(info.architecture, "llama");
  EXPECT_EQ(info.vocabulary, 512u);
  EXPECT_EQ(info.context, 256u);
  const std::vector<int32_t> tokens = engine.tokenize("Once upon a time");
  EXPECT_EQ(tokens[0], 1);
  EXPECT_NE(engine.text(tokens).find("Once upon a time"), std::string::npos);
  EXPECT_EQ(engine.score(tokens).size(), tokens.size());
  EXPECT_EQ(engine.embed("Once upon a time", Pooling::last).size(), info.width);

  size_t count = 0;
  for (const Token& token : engine.generate("Once upon", {.max_tokens = 5, .temperature = 0, .log_probabilities = 2})) {
    EXPECT_EQ(token.alternatives.size(), 2u);
    EXPECT_EQ(token.alternatives[0].token, token.id);
    EXPECT_LE(token.log_probability, 0);
    count++;
  }
  EXPECT_EQ(count, 5u);

  Session a = engine.session(), b = engine.session();
  a.start("Once upon", {.max_tokens = 2, .temperature = 0});
  b.start("Lily", {.max_tokens = 2, .temperature = 0});
  Session* both[] = {&a, &b};
  Session::advance(both);
  EXPECT_TRUE(a.next() && b.next());
  a.cancel();
  try {
    a.next();
    FAIL() << "not cancelled";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ECANCELED);
  }
  EXPECT_TRUE(a.next());
}

TEST_F(Prepared, ErrorsAreCodesWithReasons) {
  Store store = Store::memory();
  const Model model = store.load(test::data_path(file), {.name = "errors"});
  const auto code_of = [&](const EngineOptions& options) {
    try {
      Engine engine(model, options);
    } catch (const Error& error) {
      EXPECT_STRNE(error.what(), "");
      return error.code();
    }
    return 0;
  };
  EXPECT_EQ(code_of({.device = "abacus"}), ENOTSUP);
  EXPECT_EQ(code_of({.kernels = "mmx"}), ENOTSUP);
  EXPECT_EQ(code_of({.threads = 1, .cache_bytes = 5}), EINVAL);
  EXPECT_EQ(code_of({.threads = 1, .cache_bytes = uint64_t{1} << 60}), ENOMEM);
  EXPECT_EQ(llmos_engine_open(nullptr, nullptr, nullptr), -EINVAL);
  EXPECT_NE(std::string(llmos_last_error()).find("model"), std::string::npos);
}

}  // namespace
}  // namespace llmos
