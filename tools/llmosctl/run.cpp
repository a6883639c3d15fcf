// SPDX-License-Identifier: MIT
// llmosctl run, tokenize, inspect, prepare: what a model writes, how it reads, what it is.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <random>

#include "cli.hpp"
#include "json.hpp"
#include "text.hpp"

namespace llmosctl {
namespace {

// This process's own copy of a file needs a name too: the file's, as far as names allow.
std::string private_name(const std::string& path) {
  std::string name = path.substr(path.find_last_of('/') + 1).substr(0, LLMOS_NAME_SIZE - 1);
  for (char& c : name)
    if (!std::isalnum(static_cast<unsigned char>(c)) && !std::strchr("._+@:=-", c)) c = '_';
  if (!name.empty() && (name[0] == '.' || name[0] == '-')) name[0] = '_';
  return name;
}

llmos::Model open_file(const std::string& path) {
  return llmos::Store::memory().load(path, {.name = private_name(path)});
}

// MODEL is the name of a model in the store, or else a file; with a slash in it, a file.
llmos::Model open_model(const std::string& model) {
  if (model.find('/') != model.npos) return open_file(model);
  llmos::Store store;
  try {
    return store.open(model);
  } catch (const llmos::Error& error) {
    if (error.code() != ENOENT && error.code() != EINVAL) throw;  // EINVAL: no model can have that name, but a file
  }
  std::error_code error;
  if (!std::filesystem::exists(model, error))
    throw llmos::Error(ENOENT, fmt::format("\"{}\" is neither a model in the store nor a file", model));
  return open_file(model);
}

// What is wrong with the model names it.
llmos::Engine open_engine(const std::string& model, const llmos::Model& opened, const llmos::EngineOptions& options) {
  try {
    return llmos::Engine(opened, options);
  } catch (const llmos::Error& error) {
    throw llmos::Error(error.code(), about(model, error.what()));
  }
}

llmos::Engine open_engine(const std::string& model, const llmos::EngineOptions& options) {
  return open_engine(model, open_model(model), options);
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

struct RunOptions {
  std::string model, prompt, cache_type = "f16", device_layers = "all";
  int64_t predict = -1, seed = 0;  // as llama.cpp has them: below 0, to the end and at random
  bool from_stdin = false;
  llmos::GenerateOptions generate;
  llmos::EngineOptions engine;
  bool raw = false, weights_in_place = false;
};

struct Timing {
  using Clock = std::chrono::steady_clock;
  Clock::time_point start = Clock::now(), first = start, last = start;
  uint64_t tokens = 0;

  void count() {
    last = Clock::now();
    if (tokens++ == 0) first = last;
  }
  double reading() const { return seconds(start, first); }
  double rate() const {
    return tokens > 1 ? static_cast<double>(tokens - 1) / std::max(seconds(first, last), 1e-9) : 0.0;
  }
  static double seconds(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double>(to - from).count();
  }
};

void report(const Timing& timing, uint64_t prompt_tokens) {
  fmt::print(stderr, "\n{} prompt tokens in {:.2f} s, {} tokens at {:.1f} tokens/s\n", prompt_tokens, timing.reading(),
             timing.tokens, timing.rate());
}

// Of a model that is split.
void report_split(const llmos::EngineInfo& info) {
  if (info.device_layers == info.layers) return;
  fmt::print(stderr, "{} of {} layers on {}, the others on the host\n", info.device_layers, info.layers, info.device);
}

std::optional<llmos::Token> next_of(llmos::Session& session) {
  try {
    return session.next();
  } catch (const llmos::Error& error) {
    if (error.code() == ECANCELED && interrupted) return std::nullopt;
    if (error.code() != ENOSPC) throw;
    throw llmos::Error(ENOSPC, fmt::format("{}; -c says how many tokens fit", error.what()));
  }
}

// The text, shown as it comes: what nobody receives need not be computed any further.
std::string write_text(llmos::Session& session, Timing& timing, bool show) {
  std::string text;
  while (const auto token = next_of(session)) {
    if (token->id >= 0) timing.count();
    text += token->text;
    if (!show) continue;
    fmt::print("{}", token->text);
    flush_output();
  }
  return text;
}

const char* why_ended(const llmos::Session& session) {
  if (interrupted) return "interrupted";
  switch (session.finish()) {
    case llmos::Finish::not_yet:
      break;
    case llmos::Finish::end_of_text:
      return "end_of_text";
    case llmos::Finish::stop_string:
      return "stop_string";
    case llmos::Finish::length:
      return "length";
  }
  return "not_yet";
}

void run(const Globals& globals, const RunOptions& options) {
  const llmos::Engine engine = open_engine(options.model, options.engine);
  llmos::Session session = engine.session();
  const std::string prompt = options.from_stdin ? read_all(std::cin) : options.prompt;

  llmos::GenerateOptions generate = options.generate;
  generate.max_tokens = static_cast<uint64_t>(std::max<int64_t>(options.predict, 0));
  generate.seed = options.seed < 0 ? std::random_device()() : static_cast<uint64_t>(options.seed);
  Timing timing;
  session.start(prompt, generate);
  end_text_on_interrupt(session.handle());
  if (!options.raw && !globals.json) fmt::print("{}", prompt);
  const std::string text = write_text(session, timing, !globals.json);
  const uint64_t prompt_tokens = engine.tokenize(prompt, true, generate.parse_special).size();
  if (globals.json) {
    print({{"model", options.model},
           {"prompt", prompt},
           {"text", text},
           {"finish", why_ended(session)},
           {"prompt_tokens", prompt_tokens},
           {"tokens", timing.tokens},
           {"prompt_seconds", timing.reading()},
           {"tokens_per_second", timing.rate()}});
  } else {
    if (!options.raw) fmt::print("\n");
    flush_output();
    report_split(engine.info());
    report(timing, prompt_tokens);
  }
  if (interrupted) throw Exit{128 + SIGINT};
}

int layers_of(const std::string& given) {
  if (given == "all") return llmos::all_layers;
  if (given == "auto") return llmos::auto_layers;
  int layers = 0;
  const auto [end, error] = std::from_chars(given.data(), given.data() + given.size(), layers);
  if (error != std::errc() || end != given.data() + given.size() || layers < 1)
    throw CLI::ValidationError("--device-layers", "\"" + given + "\" is neither a number from 1 on, nor auto, nor all");
  return layers;
}

void check_device(const std::string& name) {
  const std::string number = name.starts_with("cuda:") ? name.substr(5) : "";
  if (name == "cpu" || (!number.empty() && number.find_first_not_of("0123456789") == number.npos)) return;
  throw llmos::Error(EINVAL, fmt::format("\"{}\" is no device: write cpu, or cuda:0 and so on", name));
}

// A number for which `holds`, which `which` says in words.
CLI::Validator number(const char* which, bool (*holds)(float)) {
  return accepted_by([=](const std::string& text) {
    float value = 0;
    if (!CLI::detail::lexical_cast(text, value) || !std::isfinite(value) || !holds(value))
      throw llmos::Error(EINVAL, fmt::format("\"{}\" is no number {}", text, which));
  });
}

constexpr int64_t kMostTokens = 1'000'000'000;  // more than any context holds

void add_run(CLI::App& app, const Globals& globals) {
  auto options = std::make_shared<RunOptions>();
  llmos::GenerateOptions& generate = options->generate;
  CLI::App* command =
      app.add_subcommand("run", "Continue a text: tokens as they come, then the speed on standard error");
  command->add_option("MODEL", options->model, "The name of a model in the store, or a GGUF file")->required();
  auto* prompt = command->add_option("-p,--prompt", options->prompt, "The text to continue");
  command->add_flag("--stdin", options->from_stdin, "Read it from standard input")->excludes(prompt);
  command->add_option("-n,--predict", options->predict, "Tokens to write; 0 or -1, the default: until the text ends")
      ->check(CLI::Range(int64_t{-1}, kMostTokens));
  command->add_option("--temp", generate.temperature, "Temperature; 0: always the most probable token (default: 0.8)")
      ->check(number("from 0 on", [](float x) { return x >= 0; }));
  command->add_option("-s,--seed", options->seed, "Seed of the random choice; -1: another each time (default: 0)")
      ->check(CLI::Range(int64_t{-1}, std::numeric_limits<int64_t>::max() - 1));
  command->add_option("--top-k", generate.top_k, "Choose among the k most probable; 0: all (default: 40)");
  command->add_option("--top-p", generate.top_p, "Among the fewest with this probability in all (default: 0.95)")
      ->check(number("above 0, at most 1", [](float x) { return x > 0 && x <= 1; }));
  command->add_option("--min-p", generate.min_p, "Among those this probable beside the best (default: 0.05)")
      ->check(number("from 0 to 1", [](float x) { return x >= 0 && x <= 1; }));
  command->add_option("--repeat-penalty", generate.repeat_penalty, "Divides the logits of recent tokens (default: 1)")
      ->check(number("above 0", [](float x) { return x > 0; }));
  command->add_option("--frequency-penalty", generate.frequency_penalty, "Taken off for each recent occurrence")
      ->check(number("that is finite", [](float) { return true; }));
  command->add_option("--presence-penalty", generate.presence_penalty, "Taken off for having occurred recently")
      ->check(number("that is finite", [](float) { return true; }));
  command->add_option("--repeat-last-n", generate.penalty_last_n, "How many tokens are recent; -1: all (default: 64)")
      ->check(CLI::Range(-1, std::numeric_limits<int>::max()));
  command->add_option("-r,--reverse-prompt", generate.stops, "Stop before this string; may be given several times");
  command->add_flag("--special", generate.parse_special, "Control tokens such as <|user|> in the prompt are meant");
  command->add_flag("--ignore-eos", generate.ignore_end, "Go on where the model ends the text");
  command->add_option("-t,--threads", options->engine.threads, "Threads (default: one per CPU)");
  command->add_option("-c,--ctx-size", options->engine.context, "Tokens that fit (default: as trained, at most 4096)")
      ->check(CLI::Range(int64_t{0}, kMostTokens));
  command->add_option("--cache-type", options->cache_type, "f16 or q8_0")->check(CLI::IsMember({"f16", "q8_0"}));
  command->add_option("--device", options->engine.device, "What runs it: cpu, or cuda:0 and so on (default: cpu)")
      ->check(accepted_by(check_device));
  command->add_option("--device-layers", options->device_layers,
                      "Layers that run on a CUDA device, the others on the host: a number, auto or all (default: all)");
  command->add_flag("--weights-in-place", options->weights_in_place,
                    "A CUDA device reads floating-point weights where the model lies; no copy of them");
  command->add_flag("--device-share", options->engine.device_share,
                    "Take turns on the device with other engines, by the weights of their cgroups");
  command->add_flag("!--no-cublas", options->engine.cublas,
                    "On CUDA devices: llmos' own kernels for prompts, also where cuBLASLt is installed");
  command->add_flag("--raw", options->raw, "Print the generated text alone, nothing before or after");
  command->callback([options, &globals] {
    if (options->weights_in_place) options->engine.weights = llmos::Weights::in_place;
    options->engine.device_layers = layers_of(options->device_layers);
    options->engine.cache_type = options->cache_type == "q8_0" ? llmos::CacheType::q8_0 : llmos::CacheType::f16;
    run(globals, *options);
  });
}

struct TokenizeOptions {
  std::string model;
  bool ids = false, no_special = false, parse_special = false;
};

// What is no text by itself, such as one byte of several, as far as it is.
std::string quoted(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void tokenize(const Globals& globals, const TokenizeOptions& options) {
  const llmos::Engine engine = open_engine(options.model, {.threads = 1, .context = 1, .cache_bytes = 0});
  const std::vector<int32_t> tokens = engine.tokenize(read_all(std::cin), !options.no_special, options.parse_special);
  if (globals.json) {
    auto array = nlohmann::ordered_json::array();
    for (const int32_t token : tokens) {
      if (options.ids)
        array.push_back(token);
      else
        array.push_back({{"id", token}, {"text", engine.text({&token, 1}, true)}});
    }
    return print(array);
  }
  if (options.ids) {
    fmt::print("{}\n", fmt::join(tokens, " "));
    return;
  }
  for (const int32_t token : tokens) fmt::print("{:>8}  {}\n", token, quoted(engine.text({&token, 1}, true)));
}

void add_tokenize(CLI::App& app, const Globals& globals) {
  auto options = std::make_shared<TokenizeOptions>();
  CLI::App* command = app.add_subcommand("tokenize", "Show the tokens of a text on standard input");
  command->add_option("MODEL", options->model, "The name of a model in the store, or a GGUF file")->required();
  command->add_flag("--ids", options->ids, "Only the ids, on one line");
  command->add_flag("--no-special,--no-bos", options->no_special, "Without the tokens that begin and end a text");
  command->add_flag("--parse-special", options->parse_special, "Control tokens such as <|user|> in the text are meant");
  command->callback([options, &globals] { tokenize(globals, *options); });
}

void inspect(const Globals& globals, const std::string& model) {
  const llmos::Model opened = open_model(model);
  const llmos::EngineInfo info = open_engine(model, opened, {.threads = 1, .context = 1}).info();
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

void prepare(const Globals& globals, const std::vector<std::string>& models) {
  llmos::Store store = open_store();
  auto array = nlohmann::ordered_json::array();
  const bool all = for_each_item(models, [&](const std::string& model) {
    const bool made = llmos::prepare(store.open(model));
    array.push_back({{"name", model}, {"made", made}});
    if (!globals.json) fmt::print("{}: {}\n", model, made ? "index made" : "has a good index");
  });
  if (globals.json) print(array);
  if (!all) throw Exit{kFailure};
}

}  // namespace

void add_run_commands(CLI::App& app, Globals& globals) {
  add_run(app, globals);
  add_tokenize(app, globals);
  auto models = std::make_shared<std::vector<std::string>>();
  CLI::App* prepare_command = app.add_subcommand("prepare", "Make the index from which every process attaches at once");
  prepare_command->add_option("MODEL", *models, "Models in the kernel")->required();
  prepare_command->callback([models, &globals] { prepare(globals, *models); });
  auto model = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("inspect", "What kind of model it is");
  command->add_option("MODEL", *model, "The name of a model in the store, or a GGUF file")->required();
  command->callback([model, &globals] { inspect(globals, *model); });
}

}  // namespace llmosctl
