// SPDX-License-Identifier: MIT
#include "engine/session.hpp"

#include <algorithm>
#include <cerrno>
#include <limits>

#include "system/error.hpp"

namespace llmos::core {

Session::Session(std::shared_ptr<Engine> engine)
    : engine_(engine), sequence_(engine), detokenizer_(engine->tokenizer()) {}

void Session::start(std::string_view prompt, const GenerateOptions& options) {
  StopStrings stops(options.stop);
  Sampler sampler(options.sampling, static_cast<uint32_t>(engine_->config().vocabulary));
  const bool at_beginning = sequence_.position() == 0 && unread_.empty();
  const std::vector<TokenId> tokens = encode(prompt, options.parse_special);
  if (tokens.empty() && at_beginning)
    fail(EINVAL, "an empty prompt gives this model nothing to begin with: it has no token for the beginning of a text");

  unread_.insert(unread_.end(), tokens.begin(), tokens.end());
  if (!tokens.empty()) forget_logits();
  for (const TokenId token : tokens) sampler.accept(token);
  sampler_.emplace(std::move(sampler));
  if (!best_.empty()) read_last_again();  // another sampler may want more of them
  stops_ = std::move(stops);
  options_ = options;
  generated_ = 0;
  finish_ = Finish::not_yet;
  // A text that begins with the model's first token begins without the space that tokens put before words.
  detokenizer_ = Detokenizer(engine_->tokenizer(), {.strip_space_prefix = at_beginning && prompt.empty()});
}

// False: these are too few to draw from.
bool Session::keep(const BestLogits& best) {
  if (!sampler_->enough(best)) return false;
  best_.assign(best.candidates.begin(), best.candidates.end());
  rest_ = best.rest;
  return true;
}

void Session::forget_logits() {
  logits_.clear();
  best_.clear();
}

void Session::read_last_again() {
  forget_logits();
  sequence_.rewind(sequence_.position() - 1);
  unread_.insert(unread_.begin(), last_read_);
}

// The beginning of a sequence gets what the model wants there; what follows is plain text.
std::vector<TokenId> Session::encode(std::string_view prompt, bool parse_special) const {
  const bool at_beginning = sequence_.position() == 0 && unread_.empty();
  const SpecialTokens& special = engine_->tokenizer().vocabulary().special();
  std::vector<TokenId> tokens;
  if (!prompt.empty())
    tokens = engine_->tokenizer().encode(prompt, {.add_special = at_beginning, .parse_special = parse_special});
  else if (at_beginning && special.bos != no_token)
    tokens = {special.bos};
  if (at_beginning && special.add_eos && !tokens.empty() && tokens.back() == special.eos) tokens.pop_back();
  return tokens;
}

void Session::advance(std::span<Session* const> sessions, const Engine::Progress& progress) {
  std::vector<Feed> feeds;
  for (Session* session : sessions) {
    if (session->unread_.empty()) continue;
    session->last_read_ = session->unread_.back();
    feeds.push_back({&session->sequence_, session->unread_, Feed::Want::last_logits,
                     [session](size_t, std::span<const float> row) { session->logits_.assign(row.begin(), row.end()); },
                     session->sampler_ ? session->sampler_->best_wanted() : BestWanted{},
                     [session](const BestLogits& best) { return session->keep(best); }});
  }
  if (feeds.empty()) return;
  std::vector<size_t> before;
  for (Session* session : sessions) before.push_back(session->sequence_.position());
  const auto forget_read = [&] {  // also after a failure: whole batches before it were read
    for (size_t i = 0; i < sessions.size(); i++) {
      const size_t read = sessions[i]->sequence_.position() - before[i];
      sessions[i]->unread_.erase(sessions[i]->unread_.begin(),
                                 sessions[i]->unread_.begin() + static_cast<ptrdiff_t>(read));
    }
  };
  try {
    sessions.front()->engine_->step(feeds, progress);
  } catch (...) {
    forget_read();
    throw;
  }
  forget_read();
}

std::optional<GeneratedToken> Session::next(const Engine::Progress& progress) {
  if (finish_ != Finish::not_yet) return std::nullopt;
  if (options_.max_tokens > 0 && generated_ == options_.max_tokens) return end(Finish::length);
  if (sequence_.position() + unread_.size() > engine_->context() && generated_ > 0) return end(Finish::length);
  Session* self = this;
  advance({&self, 1}, progress);
  Sample sample = best_.empty() ? sampler_->sample(logits_) : sampler_->sample(BestLogits{best_, rest_});
  if (!options_.ignore_end && engine_->tokenizer().vocabulary().ends_generation(sample.token))
    return end(Finish::end_of_text);
  return accept(std::move(sample));
}

GeneratedToken Session::accept(Sample sample) {
  sampler_->accept(sample.token);
  unread_.push_back(sample.token);
  forget_logits();
  generated_++;
  std::string text = stops_.push(detokenizer_.push(sample.token));
  if (stops_.stopped()) finish_ = Finish::stop_string;
  return {sample.token, std::move(text), sample.log_probability, std::move(sample.top)};
}

std::optional<GeneratedToken> Session::end(Finish why) {
  finish_ = why;
  std::string text = stops_.push(detokenizer_.finish()) + stops_.finish();
  if (text.empty()) return std::nullopt;
  return GeneratedToken{no_token, std::move(text), std::numeric_limits<float>::quiet_NaN(), {}};
}

void Session::reset() {
  sequence_.rewind(0);
  unread_.clear();
  forget_logits();
  finish_ = Finish::length;
}

}  // namespace llmos::core
