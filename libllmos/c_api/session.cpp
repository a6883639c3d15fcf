// SPDX-License-Identifier: MIT
// llmos_session_*: one stream of text.
#include "c_api/guard.hpp"
#include "c_api/handles.hpp"

using namespace llmos::core;

namespace {

Session& of(llmos_session* session) {
  need(session, "session");
  return session->session;
}

GenerateOptions to_options(const llmos_generate_options* given) {
  GenerateOptions options;
  if (!given) return options;
  const llmos_generate_options c = sized(given, "options");
  if (c.flags & ~(LLMOS_GENERATE_PARSE_SPECIAL | LLMOS_GENERATE_IGNORE_END))
    fail(EINVAL, "the flags {:#x} of the options are not all known", c.flags);
  options.max_tokens = c.max_tokens;
  options.parse_special = c.flags & LLMOS_GENERATE_PARSE_SPECIAL;
  options.ignore_end = c.flags & LLMOS_GENERATE_IGNORE_END;
  SamplerOptions& sampling = options.sampling;
  sampling.seed = c.seed;
  sampling.temperature = c.temperature;
  sampling.top_k = c.top_k;
  sampling.top_p = c.top_p;
  sampling.min_p = c.min_p;
  sampling.repeat_penalty = c.repeat_penalty;
  sampling.frequency_penalty = c.frequency_penalty;
  sampling.presence_penalty = c.presence_penalty;
  sampling.penalty_last_n = c.penalty_last_n;
  sampling.log_probabilities = c.log_probabilities;
  if (c.bias_count > 0) need(c.biases, "biases");
  for (size_t i = 0; i < c.bias_count; i++) sampling.logit_bias.push_back({c.biases[i].token, c.biases[i].bias});
  if (c.stop_count > 0) need(c.stops, "stops");
  for (size_t i = 0; i < c.stop_count; i++) {
    need(c.stops[i], "stops");
    options.stop.emplace_back(c.stops[i]);
  }
  return options;
}

void give_token(llmos_session& session, const GeneratedToken& from, llmos_token* token) {
  session.text = from.text;
  session.alternatives.clear();
  for (const TokenProbability& one : from.top) session.alternatives.push_back({one.token, one.log_probability});
  *token = {from.id,
            from.log_probability,
            session.text.c_str(),
            session.text.size(),
            session.alternatives.data(),
            session.alternatives.size()};
}

}  // namespace

void llmos_generate_options_default(llmos_generate_options* options, size_t size) {
  if (!options || size < sizeof options->size) return;
  const SamplerOptions sampling;
  llmos_generate_options ours{};
  ours.seed = sampling.seed;
  ours.temperature = sampling.temperature;
  ours.top_k = sampling.top_k;
  ours.top_p = sampling.top_p;
  ours.min_p = sampling.min_p;
  ours.repeat_penalty = sampling.repeat_penalty;
  ours.frequency_penalty = sampling.frequency_penalty;
  ours.presence_penalty = sampling.presence_penalty;
  ours.penalty_last_n = sampling.penalty_last_n;
  std::memset(options, 0, size);
  std::memcpy(options, &ours, std::min(size, sizeof ours));
  options->size = size;
}

int llmos_session_open(llmos_engine* engine, llmos_session** session) {
  return guarded([&] {
    need(engine, "engine");
    need(session, "session");
    *session = new llmos_session(engine->engine);
  });
}

void llmos_session_close(llmos_session* session) { delete session; }

int llmos_session_start(llmos_session* session, const char* prompt, size_t bytes,
                        const llmos_generate_options* options) {
  return guarded([&] {
    if (bytes > 0) need(prompt, "prompt");
    of(session).start({prompt, bytes}, to_options(options));
  });
}

int llmos_session_next(llmos_session* session, llmos_token* token) {
  return guarded([&] {
    need(token, "token");
    const auto next = of(session).next();
    if (next) give_token(*session, *next, token);
    return next ? 1 : 0;
  });
}

int llmos_session_advance(llmos_session* const* sessions, size_t count, llmos_tokens_fn progress, void* context) {
  return guarded([&] {
    if (count > 0) need(sessions, "sessions");
    std::vector<Session*> all;
    for (size_t i = 0; i < count; i++) all.push_back(&of(sessions[i]));
    Session::advance(all, [=](size_t done, size_t total) { return !progress || progress(context, done, total) == 0; });
  });
}

void llmos_session_cancel(llmos_session* session) {
  if (session) session->session.cancel();
}

int llmos_session_finish(const llmos_session* session) {
  return guarded([&] {
    need(session, "session");
    switch (session->session.finish()) {
      case Finish::not_yet:
        return LLMOS_FINISH_NOT_YET;
      case Finish::end_of_text:
        return LLMOS_FINISH_END_OF_TEXT;
      case Finish::stop_string:
        return LLMOS_FINISH_STOP_STRING;
      case Finish::length:
        break;
    }
    return LLMOS_FINISH_LENGTH;
  });
}

uint64_t llmos_session_position(const llmos_session* session) { return session ? session->session.position() : 0; }

int llmos_session_reset(llmos_session* session) {
  return guarded([&] { of(session).reset(); });
}
