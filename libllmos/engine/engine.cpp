// SPDX-License-Identifier: MIT
#include "engine/engine.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <numeric>

#include "format/gguf_vocabulary.hpp"
#include "system/error.hpp"

namespace llmos::core {
namespace {

constexpr size_t default_context = 4096;

size_t choose_context(const Config& config, const EngineOptions& options) {
  if (options.context == 0) return std::max<size_t>(1, std::min(config.context, default_context));
  return options.context;
}

}  // namespace

// Consecutive tokens of one feed within a batch.
struct Engine::Piece {
  size_t feed, first, count;
};

// A row of the batch whose result a feed wants, and which of the feed's tokens it is.
struct Engine::Wanted {
  const Feed* feed;
  size_t index;
  uint32_t row;
};

// While it lives, the engine has a turn on its device, if it takes turns.
class Engine::Turn {
 public:
  Turn(Turns* turns, const std::function<bool()>& cancelled) : turns_(turns) {
    if (turns_) turns_->begin(cancelled);
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() {
    if (turns_) turns_->end();
  }

 private:
  Turns* turns_;
};

Sequence::Sequence(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {
  for (KvCache& cache : engine_->caches_) pages_.emplace_back(cache);
}

void Sequence::reserve(size_t positions) {
  try {
    for (CachePages& pages : pages_) pages.reserve(positions);
  } catch (...) {
    shrink(position_);
    throw;
  }
}

void Sequence::shrink(size_t positions) noexcept {
  for (CachePages& pages : pages_) pages.shrink(positions);
}

void Sequence::rewind(size_t position) {
  if (position > position_) fail(EINVAL, "cannot rewind to position {}: only {} were read", position, position_);
  position_ = position;
  shrink(position);
}

Engine::Engine(std::span<const std::byte> file, std::shared_ptr<const void> owner, const EngineOptions& options,
               std::optional<PreparedIndex> index)
    : owner_(std::move(owner)),
      index_(std::move(index)),
      gguf_(index_ ? Gguf(index_->header, file) : Gguf(file)),
      config_(read_config(gguf_)),
      context_(choose_context(config_, options)),
      backends_(make_backends(options)),
      turns_(options.device_share ? std::make_unique<Turns>(device_backend().kernel_device(), options.lane_name)
                                  : nullptr),
      placement_(place_layers(gguf_, config_, backends_, options, context_)),
      forward_(config_, make_stages(options), options.capacity()),
      tokenizer_(index_ ? Tokenizer(Vocabulary::view(index_->vocabulary)) : make_tokenizer(gguf_)),
      process_(::getpid()) {}

// Everything that the engine ever takes of the device's memory is taken here.
std::vector<std::unique_ptr<Stage>> Engine::make_stages(const EngineOptions& options) {
  const std::vector<Part>& parts = placement_.parts;
  backends_.erase(backends_.begin(), backends_.end() - static_cast<ptrdiff_t>(parts.size()));  // a host without layers
  std::vector<std::unique_ptr<Stage>> stages;
  for (size_t i = 0; i < parts.size(); i++) {
    Backend& backend = *backends_[i];
    backend.offer(gguf_.bytes());
    Weights weights = WantedWeights(gguf_, config_, parts[i]).place(backend);
    const CacheLayout layout =
        backend.cache_layout(options.cache_type, parts[i].layers(), config_.kv_heads, config_.head_size);
    caches_.emplace_back(backend, layout, placement_.pages);
    stages.push_back(std::make_unique<Stage>(backend, config_, parts[i], std::move(weights), caches_.back().layout(),
                                             options.capacity()));
    backend.reserve(step_sizes(config_, options, placement_.pages));
  }
  return stages;
}

size_t Engine::cache_bytes() const {
  size_t bytes = 0;
  for (const KvCache& cache : caches_) bytes += cache.capacity() * cache.layout().page_bytes();
  return bytes;
}

// While it lives, no other step is under way. Who waits for that can be cancelled.
class Engine::Alone {
 public:
  Alone(Engine& engine, std::span<const Feed> feeds) : engine_(engine) {
    std::unique_lock lock(engine_.mutex_);
    while (!engine_.stopped_.wait_for(lock, std::chrono::milliseconds(20), [&] { return !engine_.stepping_; }))
      if (std::any_of(feeds.begin(), feeds.end(), [](const Feed& feed) { return cancelled(feed); }))
        fail(ECANCELED, "cancelled while it waited for another session");
    engine_.stepping_ = true;
  }
  ~Alone() {
    const std::lock_guard lock(engine_.mutex_);
    engine_.stepping_ = false;
    engine_.stopped_.notify_one();
  }
  Alone(const Alone&) = delete;
  Alone& operator=(const Alone&) = delete;

 private:
  Engine& engine_;
};

void Engine::step(std::span<const Feed> feeds, const Progress& progress) {
  if (::getpid() != process_)
    fail(EINVAL,
         "the engine was opened by process {}, and this one, forked from it, has none of its threads: open an engine "
         "after the fork",
         process_);
  const Alone alone(*this, feeds);
  check(feeds);
  for (const Feed& feed : feeds) feed.sequence->reserve(feed.sequence->position_ + feed.tokens.size());

  const auto sum = [](size_t total, const Feed& feed) { return total + feed.tokens.size(); };
  const size_t total = std::accumulate(feeds.begin(), feeds.end(), size_t{0}, sum);
  std::vector<size_t> done(feeds.size());
  for (size_t count = 0; count < total;) {
    const std::vector<Piece> batch = next_batch(feeds, done);
    {
      const Turn turn(turns_.get(), [&] { return cancelled(feeds, batch); });
      const Awake awake(device_backend());
      run_batch(feeds, batch);
    }
    for (const Piece& piece : batch) count += piece.count;
    if (progress && !progress(count, total)) fail(ECANCELED, "cancelled after {} of {} tokens", count, total);
  }
}

void Engine::check(std::span<const Feed> feeds) const {
  for (size_t i = 0; i < feeds.size(); i++) {
    const Feed& feed = feeds[i];
    if (feed.tokens.empty()) fail(EINVAL, "a sequence was given no token to read");
    if (feed.sequence->engine_.get() != this) fail(EINVAL, "the sequence belongs to another engine");
    for (size_t k = 0; k < i; k++)
      if (feeds[k].sequence == feed.sequence) fail(EINVAL, "the same sequence stands twice in one step");
    for (const TokenId token : feed.tokens)
      if (token < 0 || static_cast<size_t>(token) >= config_.vocabulary)
        fail(EINVAL, "token {} is not in the vocabulary of {}", token, config_.vocabulary);
    if (feed.sequence->position_ + feed.tokens.size() > context_)
      fail(ENOSPC, "the sequence has {} tokens and {} more would outgrow the context of {}", feed.sequence->position_,
           feed.tokens.size(), context_);
  }
}

// As many tokens as fit, in the order of the feeds. `done` counts each feed's tokens already given out.
std::vector<Engine::Piece> Engine::next_batch(std::span<const Feed> feeds, std::vector<size_t>& done) const {
  std::vector<Piece> batch;
  size_t room = forward_.capacity();
  for (size_t i = 0; i < feeds.size() && room > 0; i++) {
    const size_t count = std::min(room, feeds[i].tokens.size() - done[i]);
    if (count == 0) continue;
    batch.push_back({i, done[i], count});
    done[i] += count;
    room -= count;
  }
  return batch;
}

// Each is told once.
bool Engine::cancelled(const Feed& feed) {
  return feed.sequence->cancelled_.exchange(false, std::memory_order_relaxed);
}

bool Engine::cancelled(std::span<const Feed> feeds, std::span<const Piece> batch) const {
  return std::any_of(batch.begin(), batch.end(), [&](const Piece& piece) {
    return cancelled(feeds[piece.feed]);
  });
}

void Engine::run_batch(std::span<const Feed> feeds, std::span<const Piece> batch) {
  std::vector<int32_t> tokens;
  std::vector<std::vector<Run>> runs(caches_.size());  // for each part
  std::vector<Wanted> logits, states;
  for (const Piece& piece : batch) {
    const Feed& feed = feeds[piece.feed];
    for (size_t part = 0; part < runs.size(); part++)
      runs[part].push_back({tokens.size(), piece.count, feed.sequence->position_, feed.sequence->pages_[part].pages()});
    for (size_t i = piece.first; i < piece.first + piece.count; i++) {
      const uint32_t row = static_cast<uint32_t>(tokens.size());
      const bool last = i + 1 == feed.tokens.size();
      if (feed.want == Feed::Want::all_states) states.push_back({&feed, i, row});
      if (feed.want == Feed::Want::all_logits || (feed.want == Feed::Want::last_logits && last))
        logits.push_back({&feed, i, row});
      tokens.push_back(feed.tokens[i]);
    }
  }
  std::vector<uint32_t> outputs;  // computed along with the batch, where they are few
  BestWanted best;
  if (logits.size() <= Forward::output_rows)
    for (const Wanted& one : logits) {
      outputs.push_back(one.row);
      if (one.feed->best.count > forward_.most_best()) continue;
      best.count = std::max(best.count, one.feed->best.count);
      best.rest |= one.feed->best.rest;
    }
  std::vector<Batch> batches;
  for (const std::vector<Run>& of_part : runs) batches.push_back({tokens, of_part, outputs});
  forward_.run(batches, best, [&] { return !cancelled(feeds, batch); });
  device_backend().synchronize();
  if (best.count > 0) logits = hand_out_best(logits);
  hand_out(logits, config_.vocabulary, [&](auto rows, float* out) { forward_.logits(rows, out); });
  hand_out(states, config_.width, [&](auto rows, float* out) { forward_.states(rows, out); });
  // Only now does the batch count as read: where its results could not be handed out it can be computed again.
  for (const Piece& piece : batch) feeds[piece.feed].sequence->position_ += piece.count;
}

// Gives the feeds that the best logits are enough for no more than these; returns those that need all.
std::vector<Engine::Wanted> Engine::hand_out_best(std::span<const Wanted> wanted) {
  std::vector<Wanted> left;
  forward_.best(best_, rest_);
  const size_t found = best_.size() / wanted.size();
  for (size_t i = 0; i < wanted.size(); i++) {
    const Feed& feed = *wanted[i].feed;
    const auto row = std::span<const Candidate>(best_).subspan(i * found, std::min(found, feed.best.count));
    const auto end = std::ranges::find(row, no_token, &Candidate::token);
    const BestLogits best{std::span(row.begin(), end), rest_[i]};
    if (end == row.begin() || feed.best.count > found || !feed.best_sink(best)) left.push_back(wanted[i]);
  }
  return left;
}

// Computes the rows wanted, several at a time, and gives each to its feed.
template <typename Compute>
void Engine::hand_out(std::span<const Wanted> wanted, size_t width, const Compute& compute) {
  for (; !wanted.empty(); wanted = wanted.subspan(std::min(wanted.size(), Forward::output_rows))) {
    const auto some = wanted.first(std::min(wanted.size(), Forward::output_rows));
    std::vector<uint32_t> rows;
    for (const Wanted& one : some) rows.push_back(one.row);
    values_.resize(rows.size() * width);
    compute(std::span<const uint32_t>(rows), values_.data());
    for (size_t i = 0; i < some.size(); i++)
      some[i].feed->sink(some[i].index, std::span<const float>(values_).subspan(i * width, width));
  }
}

}  // namespace llmos::core
