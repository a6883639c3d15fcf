// SPDX-License-Identifier: MIT
// A model ready to run on one device: its weights where they lie, a tokenizer, a cache, and the step that moves any
// number of sequences forward together.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.hpp"
#include "device/turns.hpp"
#include "engine/kv_cache.hpp"
#include "engine/options.hpp"
#include "engine/placement.hpp"
#include "engine/prepared.hpp"
#include "format/gguf.hpp"
#include "model/config.hpp"
#include "model/forward.hpp"
#include "text/tokenizer.hpp"

namespace llmos::core {

class Engine;

// What a model has read so far, for one stream of tokens. Belongs to one thread at a time; cancel() is for any thread.
class Sequence {
 public:
  explicit Sequence(std::shared_ptr<Engine> engine);

  size_t position() const { return position_; }  // tokens read
  void rewind(size_t position);                  // forgets what came after; EINVAL when that is ahead

  // Ends the step that this sequence is in, or the next one, with ECANCELED; the tokens of the batch being computed
  // then count as not read.
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }

 private:
  friend class Engine;
  void reserve(size_t positions);  // ENOMEM leaves everything as it was
  void shrink(size_t positions) noexcept;

  std::shared_ptr<Engine> engine_;
  std::deque<CachePages> pages_;  // in each part of the cache
  size_t position_ = 0;
  std::atomic<bool> cancelled_{false};
};

// One sequence's part in a step.
struct Feed {
  enum class Want { nothing, last_logits, all_logits, all_states };

  Sequence* sequence;
  std::span<const TokenId> tokens;
  Want want = Want::last_logits;
  // Called once for each row wanted, in order: the index of the token and its logits (or normalised hidden state),
  // valid during the call. What it throws ends the step; the batch then counts as not read.
  std::function<void(size_t index, std::span<const float> row)> sink;

  // Where a few of the best logits may be enough (count 0: where they are not). When the device finds them itself,
  // best_sink is called instead of sink, with at least one; when it says that they are not enough, then sink.
  BestWanted best = {};
  std::function<bool(const BestLogits& best)> best_sink = {};
};

class Engine {
 public:
  // `file` is a GGUF file; `owner` keeps its bytes alive. With an index of it nothing long is parsed. EBADMSG or
  // ENOTSUP for files that cannot be run, ENOMEM.
  Engine(std::span<const std::byte> file, std::shared_ptr<const void> owner, const EngineOptions& options,
         std::optional<PreparedIndex> index = std::nullopt);

  const Config& config() const { return config_; }
  const Gguf& file() const { return gguf_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  // Of the layers on the device; that of layers on the host has as many pages.
  const KvCache& cache() const { return caches_.back(); }
  size_t cache_bytes() const;  // of all layers
  size_t context() const { return context_; }
  std::string device() const { return device_backend().description(); }
  const Placement& placement() const { return placement_; }

  // Reads the tokens of every feed, however many each has, and hands out what they want. Steps of several threads take
  // turns. `progress`, when given, hears of tokens done and in all after each batch; by returning false it cancels.
  //   EINVAL     an unknown token, a sequence of another engine or twice in one step, or no token; or this process was
  //              forked from the engine's, and has none of its threads
  //   ENOSPC     a sequence would outgrow the context
  //   ENOMEM     the cache is full
  //   ENODEV     the device that is shared was removed
  //   ECANCELED  a sequence was cancelled, also while the step waits for another thread's, or progress said so; whole
  //              batches before that count as read
  using Progress = std::function<bool(size_t done, size_t total)>;
  void step(std::span<const Feed> feeds, const Progress& progress = {});

 private:
  friend class Sequence;
  class Turn;
  class Alone;
  struct Piece;
  struct Wanted;

  Backend& device_backend() const { return *backends_.back(); }
  std::vector<std::unique_ptr<Stage>> make_stages(const EngineOptions& options);
  void check(std::span<const Feed> feeds) const;
  std::vector<Piece> next_batch(std::span<const Feed> feeds, std::vector<size_t>& done) const;
  static bool cancelled(const Feed& feed);
  bool cancelled(std::span<const Feed> feeds, std::span<const Piece> batch) const;
  void run_batch(std::span<const Feed> feeds, std::span<const Piece> batch);
  std::vector<Wanted> hand_out_best(std::span<const Wanted> wanted);
  template <typename Compute>
  void hand_out(std::span<const Wanted> wanted, size_t width, const Compute& compute);

  std::shared_ptr<const void> owner_;
  std::optional<PreparedIndex> index_;
  Gguf gguf_;
  Config config_;
  size_t context_;
  std::vector<std::unique_ptr<Backend>> backends_;  // one for each part, the device's last
  std::unique_ptr<Turns> turns_;                    // on the device, if it is shared
  Placement placement_;
  std::deque<KvCache> caches_;
  Forward forward_;
  Tokenizer tokenizer_;
  const pid_t process_;
  std::mutex mutex_;  // of stepping_
  std::condition_variable stopped_;
  bool stepping_ = false;
  std::vector<float> values_;  // handed out
  std::vector<Candidate> best_;
  std::vector<double> rest_;
};

}  // namespace llmos::core
