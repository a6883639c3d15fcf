// SPDX-License-Identifier: MIT
// Writes the seeds of the fuzz targets: small inputs of every shape that the code under test knows.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "fuzz/small_tokenizers.hpp"
#include "support/gguf_writer.hpp"

namespace {

using namespace llmos;
using Strings = std::vector<std::string>;

std::filesystem::path root;

void write(const std::string& name, std::span<const std::byte> bytes) {
  std::filesystem::create_directories((root / name).parent_path());
  std::ofstream file(root / name, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

void write(const std::string& name, const std::string& text) { write(name, std::as_bytes(std::span(text))); }

void write_gguf_seeds() {
  test::GgufWriter types;
  types.set("u8", uint8_t{1}).set("i16", int16_t{-2}).set("f32", 0.5f).set("f64", 0.25).set("bool", true);
  types.set("u64", uint64_t{3}).set_array("i32", {1, -2, 3}).set_array("strings", Strings{"a", "", "bc"});
  write("gguf/types", types.header());

  test::GgufWriter tensors;
  tensors.alignment(64).set("general.architecture", "llama");
  tensors.tensor("f32", core::TensorType::f32, {4, 2}, std::vector<float>(8));
  tensors.tensor("q8_0", core::TensorType::q8_0, {32}, std::vector<uint8_t>(34));
  tensors.raw_tensor("other", 39, {32}, 17, [](auto) {});
  write("gguf/tensors", tensors.bytes());

  test::GgufWriter spm;
  spm.set("tokenizer.ggml.model", "llama")
      .set_array("tokenizer.ggml.tokens", Strings{"<unk>", "<s>", "</s>", "e", "l", "el"});
  spm.set_array("tokenizer.ggml.scores", {0.f, 0.f, 0.f, -1.f, -2.f, -3.f});
  spm.set_array("tokenizer.ggml.token_type", {2, 3, 3, 1, 1, 1}).set("tokenizer.ggml.add_eos_token", true);
  write("gguf/spm", spm.header());

  test::GgufWriter bpe;
  bpe.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.pre", "qwen2");
  bpe.set_array("tokenizer.ggml.tokens", Strings{"e", "l", "el", "<s>"})
      .set_array("tokenizer.ggml.merges", Strings{"e l"});
  bpe.set_array("tokenizer.ggml.token_type", {1, 1, 1, 4}).set("tokenizer.ggml.eos_token_id", uint32_t{3});
  write("gguf/bpe", bpe.header());
}

void write_tokenizer_seeds() {
  const std::string texts[] = {"the aaaa's 1234\n\n  caf\xc3\xa9<s>ab<t>",
                               "  \t\r\n \xe2\x80\xa8x \xff\xfe\xed\xa0\x80",
                               "\xe4\xbd\xa0\xe5\xa5\xbd \xe3\x81\x8b ABCdef//\n!!"};
  for (int tokenizer = 0; tokenizer < 12; ++tokenizer) {
    const char choice = static_cast<char>(tokenizer | (tokenizer % 2 ? 16 : 0));
    write("tokenizer/text" + std::to_string(tokenizer), choice + texts[tokenizer % 3]);
  }
}

void write_vocabulary_seeds() {
  for (const auto kind : {core::TokenizerKind::spm, core::TokenizerKind::char_bpe, core::TokenizerKind::byte_bpe}) {
    test::SmallVocabulary v(kind);
    v.source.special.bos = v.add("<s>", core::TokenType::control);
    v.add("<s>\n", core::TokenType::user_defined);
    for (const char* text : {"t", "h", "e", " "}) v.add(text, core::TokenType::normal, -1);
    v.add_merge("t", "h");
    v.add_merge("th", "e");
    write("vocabulary/kind" + std::to_string(static_cast<int>(kind)), core::Vocabulary::build(v.source).image());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: make_seeds DIRECTORY\n"), 2;
  root = argv[1];
  write_gguf_seeds();
  write_tokenizer_seeds();
  write_vocabulary_seeds();
  return 0;
}
