// SPDX-License-Identifier: MIT
// llmosctl run, tokenize, inspect, prepare: what a model writes, how it reads, what it is.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <memory>
#include <random>

#include "cli.hpp"
#include "json.hpp"
#include "text.hpp"

namespace llmosctl {
namespace {

// MODEL is a file, or the name of a model in the store.
llmos::Model open_model(const std::string& model) {
  if (std::filesystem::is_regular_file(model)) return llmos::Store::memory().load(model);
  return llmos::Store().open(model);
}

std::string read_all(std::istream& in) { return {std::istreambuf_iterator<char>(in), {}}; }

llmos_session* interrupted_session = nullptr;
volatile std::sig_atomic_t interrupted = 0;

// Ctrl-C ends the text, not the program: what was computed is still reported. A second one ends the program.
void interrupt(int) {
  interrupted = 1;
  llmos_session_cancel(interrupted_session);
}

void end_text_on_interrupt(llmos_session* session) {
  interrupted_session = session;
  struct sigaction action {};
  action.sa_handler = interrupt;
  action.sa_flags = SA_RESTART | SA_RESETHAND;
  sigaction(SIGINT, &action, nullptr);
}

// What nobody receives need not be computed any further.
void flush_text() {
  if (std::fflush(stdout)) throw llmos::Error(errno, fmt::format("cannot write the text: {}", std::strerror(errno)));
}

struct RunOptions {
  std::string model, prompt, cache_type = "f16";
  int64_t predict = -1, seed = 0;  // as llama.cpp has them: below 0, to the end and at random
  bool from_stdin = false;
  llmos::GenerateOptions generate;
  llmos::EngineOptions engine;
  bool raw = false;
};

struct Timing {
  using Clock = std::chrono::steady_clock;
  Clock::time_point start = Clock::now(), first = start, last = start;
  uint64_t tokens = 0;

  void count() {
    last = Clock::now();
    if (tokens++ == 0) first = last;
  }
  static double seconds(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
  }
};

void report(const Timing& timing, uint64_t prompt_tokens) {
  const double reading = Timing::seconds(timing.start, timing.first),
               writing = Timing::seconds(timing.first, timing.last);
  fmt::print(stderr, "\n{} prompt tokens in {:.2f} s, {} tokens at {:.1f} tokens/s\n", prompt_tokens, reading,
             timing.tokens, timing.tokens > 1 ? static_cast<double>(timing.tokens - 1) / std::max(writing, 1e-9) : 0.0);
}

// The text as it comes; false when Ctrl-C ended it.
bool write_text(llmos::Session& session, Timing& timing) {
  try {
    while (const auto token = session.next()) {
      if (token->id >= 0) timing.count();
      fmt::print("{}", token->text);
      flush_text();
    }
    return true;
  } catch (const llmos::Error& error) {
    if (error.code() != ECANCELED || !interrupted) throw;
    return false;
  }
}

void run(const RunOptions& options) {
  const llmos::Engine engine(open_model(options.model), options.engine);
  llmos::Session session = engine.session();
  const std::string prompt = options.from_stdin ? read_all(std::cin) : options.prompt;

  llmos::GenerateOptions generate = options.generate;
  generate.max_tokens = static_cast<uint64_t>(std::max<int64_t>(options.predict, 0));
  generate.seed = options.seed < 0 ? std::random_device()() : static_cast<uint64_t>(options.seed);
  Timing timing;
  session.start(prompt, generate);
  end_text_on_interrupt(session.handle());
  if (!options.raw) fmt::print("{}", prompt);
  const bool whole = write_text(session, timing);
  if (!options.raw) fmt::print("\n");
  flush_text();
  report(timing, engine.tokenize(prompt, true, generate.parse_special).size());
  if (!whole) throw Exit{128 + SIGINT};
}

void add_run(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  llmos::GenerateOptions& generate = options->generate;
  CLI::App* command =
      app.add_subcommand("run", "Continue a text: tokens as they come, then the speed on standard error");
  command->add_option("MODEL", options->model, "A GGUF file, or the name of a model in the store")->required();
  auto* prompt = command->add_option("-p,--prompt", options->prompt, "The text to continue");
  command->add_flag("--stdin", options->from_stdin, "Read it from standard input")->excludes(prompt);
  command->add_option("-n,--predict", options->predict, "Tokens to write (default: until the model ends the text)");
  command->add_option("--temp", generate.temperature, "Temperature; 0: always the most probable token (default: 0.8)");
  command->add_option("-s,--seed", options->seed, "Seed of the random choice; -1: another each time (default: 0)");
  command->add_option("--top-k", generate.top_k, "Choose among the k most probable; 0: all (default: 40)");
  command->add_option("--top-p", generate.top_p, "Among the fewest with this probability in all (default: 0.95)");
  command->add_option("--min-p", generate.min_p, "Among those this probable beside the best (default: 0.05)");
  command->add_option("--repeat-penalty", generate.repeat_penalty, "Divides the logits of recent tokens (default: 1)");
  command->add_option("--frequency-penalty", generate.frequency_penalty, "Taken off for each recent occurrence");
  command->add_option("--presence-penalty", generate.presence_penalty, "Taken off for having occurred recently");
  command->add_option("--repeat-last-n", generate.penalty_last_n, "How many tokens are recent (default: 64)");
  command->add_option("-r,--reverse-prompt", generate.stops, "Stop before this string; may be given several times");
  command->add_flag("--special", generate.parse_special, "Control tokens such as <|user|> in the prompt are meant");
  command->add_flag("--ignore-eos", generate.ignore_end, "Go on where the model ends the text");
  command->add_option("-t,--threads", options->engine.threads, "Threads (default: one per CPU)");
  command->add_option("-c,--ctx-size", options->engine.context, "Tokens that fit (default: as trained, at most 4096)");
  command->add_option("--cache-type", options->cache_type, "f16 or q8_0")->check(CLI::IsMember({"f16", "q8_0"}));
  command->add_option("--device", options->engine.device, "What runs it: cpu, or cuda:0 and so on (default: cpu)");
  command->add_flag("--device-share", options->engine.device_share,
                    "Take turns on the device with other engines, by the weights of their cgroups");
  command->add_flag("!--no-cublas", options->engine.cublas,
                    "On CUDA devices: llmos' own kernels for prompts, also where cuBLASLt is installed");
  command->add_flag("--raw", options->raw, "Print the generated text alone, nothing before or after");
  command->callback([options] {
    options->engine.cache_type = options->cache_type == "q8_0" ? llmos::CacheType::q8_0 : llmos::CacheType::f16;
    run(*options);
  });
}

struct TokenizeOptions {
  std::string model;
  bool ids = false, no_special = false, parse_special = false;
};

void tokenize(const TokenizeOptions& options) {
  const llmos::Engine engine(open_model(options.model), {.threads = 1, .context = 1, .cache_bytes = 0});
  const std::vector<int32_t> tokens = engine.tokenize(read_all(std::cin), !options.no_special, options.parse_special);
  if (options.ids) {
    fmt::print("{}\n", fmt::join(tokens, " "));
    return;
  }
  for (const int32_t token : tokens)
    fmt::print("{:>8}  {}\n", token, nlohmann::json(engine.text({&token, 1}, true)).dump());
}

void add_tokenize(CLI::App& app) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Show the tokens of a text on standard input");
  command->add_option("MODEL", options->model, "A GGUF file, or the name of a model in the store")->required();
  command->add_flag("--ids", options->ids, "Only the ids, on one line");
  command->add_flag("--no-special,--no-bos", options->no_special, "Without the tokens that begin and end a text");
  command->add_flag("--parse-special", options->parse_special, "Control tokens such as <|user|> in the text are meant");
  command->callback([options] { tokenize(*options); });
}

void inspect(const Globals& globals, const std::string& model) {
  const llmos::Model opened = open_model(model);
  const llmos::EngineInfo info = llmos::Engine(opened, {.threads = 1, .context = 1}).info();
  if (globals.json)
    return print(nlohmann::ordered_json{{"name", opened.name()},
                                        {"bytes", opened.size()},
                                        {"architecture", info.architecture},
                                        {"layers", info.layers},
                                        {"width", info.width},
                                        {"vocabulary", info.vocabulary},
                                        {"context", info.trained_context}});
  fmt::print("{:<14}{}\n{:<14}{}\n{:<14}{}\n{:<14}{}\n{:<14}{}\n{:<14}{}\n{:<14}{} tokens\n", "name", opened.name(),
             "size", human_bytes(opened.size()), "architecture", info.architecture, "layers", info.layers, "width",
             info.width, "vocabulary", info.vocabulary, "trained on", info.trained_context);
}

void prepare(const std::vector<std::string>& models) {
  llmos::Store store = open_store();
  for_each_item(models, [&](const std::string& model) {
    const bool made = llmos::prepare(store.open(model));
    fmt::print("{}: {}\n", model, made ? "index made" : "has a good index");
  });
}

}  // namespace

void add_run_commands(CLI::App& app, Globals& globals) {
  add_run(app);
  add_tokenize(app);
  auto models = std::make_shared<std::vector<std::string>>();
  CLI::App* prepare_command = app.add_subcommand("prepare", "Make the index from which every process attaches at once");
  prepare_command->add_option("MODEL", *models, "Models in the kernel")->required();
  prepare_command->callback([models] { prepare(*models); });
  auto model = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("inspect", "What kind of model it is");
  command->add_option("MODEL", *model, "A GGUF file, or the name of a model in the store")->required();
  command->callback([model, &globals] { inspect(globals, *model); });
}

}  // namespace llmosctl
