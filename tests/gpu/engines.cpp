// SPDX-License-Identifier: MIT
// Whole models: small ones of every architecture beside the CPU, and a real one, with its speed.
#include <algorithm>

#include "gpu/gpu_check.hpp"
#include "support/small_model.hpp"
#include "support/stories.hpp"

namespace llmos::test::gpu {
namespace {

using namespace core;

using Open = std::function<std::shared_ptr<Engine>(const EngineOptions&)>;

EngineOptions on_device(const Bench& b, CacheType type, bool cublas) {
  EngineOptions options;
  options.backend = b.setting.backend(cublas);
  options.context = 256;
  options.cache_bytes = 4 << 20;
  options.cache_type = type;
  return options;
}

EngineOptions on_cpu(const Bench& b, CacheType type) {
  EngineOptions options = on_device(b, type, false);
  options.backend = BackendOptions{};
  options.backend.kernels = "portable";
  options.backend.threads = 1;
  return options;
}

float largest_difference(const std::vector<float>& one, const std::vector<float>& two) {
  float worst = 0;
  for (size_t i = 0; i < one.size(); i++) {
    require(std::isfinite(two[i]), "logit {} is {}", i, two[i]);
    worst = std::max(worst, std::fabs(one[i] - two[i]));
  }
  return worst;
}

// Tokens from one at a time and from prompts, with both kinds of cache, without and with cuBLASLt.
Found architectures(Bench& b) {
  float worst = 0;
  size_t number = 0;
  for (const SmallArchitecture& architecture : small_architectures)
    for (const CacheType type : {CacheType::f16, CacheType::q8_0}) {
      if (type == CacheType::q8_0 && architecture.head_size % 32 != 0) continue;
      const std::vector<std::byte> file = small_model(11, 64, 1, architecture).bytes();
      const auto cpu = open_engine(file, on_cpu(b, type));
      const auto cuda = open_engine(file, on_device(b, type, number++ % 2 == 1));
      const auto tokens = cpu->tokenizer().encode("w1 w7 w3 w50");
      const float difference = largest_difference(logits_after(cpu, tokens), logits_after(cuda, tokens));
      const float bound = type == CacheType::f16 ? 0.02f : 0.2f;
      require(difference < bound, "{}: a logit differs by {}", architecture.name, difference);
      worst = std::max(worst, difference);
      if (type == CacheType::f16)
        require(write(cuda, "w1 w7 w3", 8) == write(cpu, "w1 w7 w3", 8), "{} writes another text than on the CPU",
                architecture.name);
    }
  return {fmt::format("the largest difference of a logit is {:.4f}", worst), {{"largest_difference", worst}}};
}

// Seconds a token, of tokens after the first two: those record the step.
double token_time(const std::shared_ptr<Engine>& engine, const std::string& prompt, size_t tokens) {
  GenerateOptions options = greedy(tokens + 2);
  options.ignore_end = true;
  Session session(engine);
  session.start(prompt, options);
  session.next();
  session.next();
  return seconds([&] {
           for (size_t i = 0; i < tokens; i++) require(session.next().has_value(), "the text ended early");
         }) /
         static_cast<double>(tokens);
}

Found small_step(Bench& b) {
  const auto engine = open_engine(small_model().bytes(), on_device(b, CacheType::f16, false));
  const double us = token_time(engine, "w1 w2", b.setting.simulated ? 4 : 200) * 1e6;
  return {fmt::format("{:.0f} us a token, one graph each", us), {{"step_us", us}}};
}

// Bytes of weights that a token reads: the embedding only where it is the output, too.
size_t bytes_of_a_token(const Gguf& file) {
  size_t bytes = 0;
  const bool tied = !file.find_tensor("output.weight");
  for (const GgufTensor& tensor : file.tensors())
    if (tied || tensor.name != "token_embd.weight") bytes += file.view(tensor).bytes();
  return bytes;
}

bool has_floats_only(const Gguf& file) {
  return std::ranges::all_of(file.tensors(), [&](const GgufTensor& tensor) {
    return tensor_type_info(file.view(tensor).type).block_elements == 1;
  });
}

// Seconds that a prompt of so many tokens takes; the second time, when all memory is there and all kernels are loaded.
double prompt_time(const std::shared_ptr<Engine>& engine, const std::vector<TokenId>& tokens) {
  logits_after(engine, tokens);
  return seconds([&] { logits_after(engine, tokens); });
}

// Logits beside the CPU's, the texts' common beginning, tokens a second of decoding as a share of the device's
// bandwidth, and of prompts by our own kernels and by cuBLASLt.
Found real_model(Bench& b) {
  if (b.setting.model.empty()) return {"none was given (--model FILE)"};
  const std::vector<std::byte> file = read_bytes(b.setting.model);
  const bool small = b.setting.simulated;
  const auto open = [&](EngineOptions options) {
    options.context = small ? 128 : 1024;
    options.cache_bytes = 0;
    options.backend.threads = options.backend.device == "cpu" ? 0 : 1;
    if (!small) options.backend.kernels = "";
    return open_engine(file, options);
  };
  const auto cuda = open(on_device(b, CacheType::f16, false)), cpu = open(on_cpu(b, CacheType::f16));
  const auto beginning = cpu->tokenizer().encode(sentence);
  const std::vector<float> expected = logits_after(cpu, beginning), found = logits_after(cuda, beginning);
  const auto [least, most] = std::ranges::minmax(expected);
  const double difference = largest_difference(expected, found) / (most - least);
  const double bound = has_floats_only(cuda->file()) ? 0.01 : 0.1;  // the CPU rounds activations for quantised weights
  require(difference < bound, "a logit differs by {:.4f} of their range from the CPU's", difference);
  const std::string on_both = write(cpu, sentence, small ? 4 : 32), written = write(cuda, sentence, small ? 4 : 32);
  const auto same = static_cast<size_t>(std::ranges::mismatch(on_both, written).in1 - on_both.begin());

  const double time = token_time(cuda, sentence, small ? 4 : 128);
  const double read = static_cast<double>(bytes_of_a_token(cuda->file()));
  const double share = b.bandwidth > 0 ? read / time / b.bandwidth : 0;
  std::vector<TokenId> prompt = beginning;
  while (prompt.size() < (small ? 40 : 512)) prompt.insert(prompt.end(), beginning.begin() + 1, beginning.end());
  const auto library = open(on_device(b, CacheType::f16, true));
  const double count = static_cast<double>(prompt.size()), own = count / prompt_time(cuda, prompt);
  const double with_library = count / prompt_time(library, prompt);
  return {
      fmt::format("logits differ by {:.4f} of their range, texts from byte {} of {}; {:.1f} tokens/s, {:.0f} % of the "
                  "measured bandwidth; prompts {:.0f} tokens/s, {:.0f} with cuBLASLt ({})",
                  difference, same, on_both.size(), 1 / time, share * 100, own, with_library, library->device()),
      {{"logit_difference", difference},
       {"same_bytes", static_cast<double>(same)},
       {"tokens_s", 1 / time},
       {"bandwidth_share", share},
       {"prompt_tokens_s", own},
       {"prompt_tokens_s_cublas", with_library}}};
}

}  // namespace

std::span<const Part> parts_of_engines() {
  static constexpr Part parts[] = {
      {"architectures beside the CPU", architectures},
      {"step of a small model", small_step, true},
      {"real model", real_model, true},
  };
  return parts;
}

}  // namespace llmos::test::gpu
