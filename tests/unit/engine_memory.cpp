// SPDX-License-Identifier: MIT
// Out of memory, at every single allocation of a process that opens an engine and uses it: an error code each time,
// nothing left behind, and everything works again afterwards. And so with callbacks that throw or cancel.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <llmos/llmos.hpp>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "support/small_model.hpp"

namespace {

std::atomic<long> live{0};             // allocations of all threads that were not given back
thread_local long until_failure = -1;  // allocations of this thread until one is refused; below 0: none is

bool refused() { return until_failure >= 0 && until_failure-- == 0; }

void* allocate(size_t bytes, size_t alignment) {
  if (refused()) throw std::bad_alloc();
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* const memory =
      alignment > alignof(max_align_t) ? std::aligned_alloc(alignment, rounded) : std::malloc(bytes ? bytes : 1);
  if (!memory) throw std::bad_alloc();
  live++;
  return memory;
}

void release(void* memory) noexcept {
  if (memory) live--;
  std::free(memory);
}

}  // namespace

void* operator new(size_t bytes) { return allocate(bytes, 1); }
void* operator new[](size_t bytes) { return allocate(bytes, 1); }
void* operator new(size_t bytes, std::align_val_t alignment) { return allocate(bytes, static_cast<size_t>(alignment)); }
void* operator new[](size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<size_t>(alignment));
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return allocate(bytes, 1);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory, const std::nothrow_t&) noexcept { release(memory); }
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, size_t) noexcept { release(memory); }
void operator delete[](void* memory, size_t) noexcept { release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete[](void* memory, std::align_val_t) noexcept { release(memory); }
void operator delete(void* memory, size_t, std::align_val_t) noexcept { release(memory); }
void operator delete[](void* memory, size_t, std::align_val_t) noexcept { release(memory); }

namespace llmos {
namespace {

class EngineMemory : public testing::Test {
 protected:
  EngineMemory() : store_(Store::memory()) {
    const std::vector<std::byte> file = test::small_model().bytes();
    Writer writer = store_.create({.name = "small", .bytes = file.size()});
    writer.write(0, file);
    writer.seal();
    model_.emplace(store_.open("small"));
  }

  // Runs `use` with its allocation number 0, 1, 2, ... refused, until it needs no more of them.
  template <typename Use>
  void refuse_each(const Use& use) {
    ASSERT_EQ(use(), 0) << llmos_last_error();  // what is made once is made now, as is room for the longest message
    ASSERT_LT(llmos_store_remove(store_.handle(), std::string(200, 'x').c_str()), 0);
    const long before = live;
    long managed_without = 0;  // a sort, for instance, that takes more room only where there is some
    for (long number = 0;; number++) {
      until_failure = number;
      const int result = use();
      const bool reached = until_failure < 0;
      until_failure = -1;
      ASSERT_EQ(live, before) << "after allocation " << number << " was refused: a leak";
      if (!reached) {
        EXPECT_EQ(result, 0);
        EXPECT_GT(number, 10);
        EXPECT_LE(managed_without, 3);
        return;
      }
      if (result == 0)
        managed_without++;
      else
        ASSERT_EQ(result, -ENOMEM) << number << ": " << llmos_last_error();
    }
  }

  Store store_;
  std::optional<Model> model_;
};

struct Handles {
  llmos_engine* engine = nullptr;
  llmos_session* session = nullptr;
  ~Handles() {
    llmos_session_close(session);
    llmos_engine_close(engine);
  }
};

int open(const Model& model, Handles& handles) {
  llmos_engine_options options{};
  options.size = sizeof options;
  options.threads = 3;
  options.context = 64;
  return llmos_engine_open(model.handle(), &options, &handles.engine);
}

int generate(Handles& handles) {
  const char* const stops[] = {"never to be seen, and long enough to be allocated"};
  llmos_generate_options options;
  llmos_generate_options_init(&options);
  options.flags = LLMOS_GENERATE_IGNORE_END;
  options.max_tokens = 4;
  options.log_probabilities = 3;
  options.stops = stops;
  options.stop_count = 1;
  if (const int error = llmos_session_open(handles.engine, &handles.session)) return error;
  if (const int error = llmos_session_start(handles.session, "w1 w2 w3", 8, &options)) return error;
  llmos_token token{};
  int more = 1;
  while (more > 0) more = llmos_session_next(handles.session, &token);
  return more;
}

TEST_F(EngineMemory, RefusedWhileAnEngineOpens) {
  refuse_each([&] {
    Handles handles;
    return open(*model_, handles);
  });
}

TEST_F(EngineMemory, RefusedWhileASessionGenerates) {
  Handles shared;
  ASSERT_EQ(open(*model_, shared), 0);
  refuse_each([&] {
    Handles handles;
    handles.engine = shared.engine;
    const int result = generate(handles);
    handles.engine = nullptr;
    return result;
  });
}

TEST_F(EngineMemory, RefusedWhileATextIsScoredAndEmbedded) {
  Handles handles;
  ASSERT_EQ(open(*model_, handles), 0);
  const int32_t tokens[] = {1, 260, 261, 262};
  float scores[4], embedding[64];
  refuse_each([&] {
    if (const int error = llmos_engine_score(handles.engine, tokens, 4, scores, nullptr, nullptr)) return error;
    return llmos_engine_embed(handles.engine, tokens, 4, LLMOS_POOLING_MEAN, embedding);
  });
}

TEST_F(EngineMemory, RefusedWhileAnIndexIsPrepared) {
  refuse_each([&] {
    const int result = llmos_model_prepare(model_->handle());
    const long left = std::exchange(until_failure, -1);
    llmos_store_remove(store_.handle(), "small.index");  // it may be there although its maker was told of no memory
    until_failure = left;
    return std::min(result, 0);
  });
}

TEST_F(EngineMemory, CallbacksThatThrowOrCancelLeaveNothing) {
  const Engine engine(*model_, {.threads = 2, .context = 64, .batch_tokens = 2});
  const std::vector<int32_t> tokens = engine.tokenize("w1 w2 w3 w4 w5 w6");
  struct Stop {};
  const auto throws = [](uint64_t, uint64_t) -> bool { throw Stop(); };
  const auto cancels = [](uint64_t, uint64_t) { return false; };
  const auto try_all = [&] {
    EXPECT_THROW(engine.score(tokens, throws), Stop);
    EXPECT_THROW(engine.score(tokens, cancels), Error);
    Session session = engine.session();
    session.start("w1 w2 w3 w4", {.max_tokens = 4, .temperature = 0, .ignore_end = true});
    Session* const sessions[] = {&session};
    EXPECT_THROW(Session::advance(sessions, throws), Stop);
    EXPECT_THROW(Session::advance(sessions, cancels), Error);
    EXPECT_TRUE(session.next());  // goes on
  };
  try_all();
  const long before = live;
  for (int i = 0; i < 20; i++) try_all();
  EXPECT_EQ(live, before);
}

}  // namespace
}  // namespace llmos
