// SPDX-License-Identifier: MIT
// Real GGUF files of the test data.
#include <gtest/gtest.h>

#include "format/gguf.hpp"
#include "support/test_data.hpp"

namespace llmos {
namespace {

using core::Gguf;
using core::TensorType;

TEST(GgufFiles, Stories260K) {
  LLMOS_NEED_DATA("models/stories260K-Q8_0.gguf");
  const auto file = test::read_bytes(test::data_path("models/stories260K-Q8_0.gguf"));
  const Gguf gguf(file);
  EXPECT_EQ(gguf.version(), 3u);
  EXPECT_EQ(gguf.architecture(), "llama");
  EXPECT_EQ(gguf.u32("llama.block_count"), 5u);
  EXPECT_FLOAT_EQ(gguf.f32("llama.attention.layer_norm_rms_epsilon"), 1e-5f);
  EXPECT_EQ(gguf.array("tokenizer.ggml.tokens").size(), 512u);
  EXPECT_EQ(gguf.tensors().size(), 48u);

  const core::TensorView embedding = gguf.tensor("token_embd.weight");
  EXPECT_EQ(embedding.type, TensorType::q8_0);
  EXPECT_EQ(embedding.shape, (std::array<uint64_t, 4>{64, 512, 1, 1}));
  uint64_t end = 0;
  for (const core::GgufTensor& tensor : gguf.tensors()) end = std::max(end, tensor.offset + tensor.bytes);
  EXPECT_LE(file.size() - end, gguf.alignment());
}

TEST(GgufFiles, VocabularyOnly) {
  LLMOS_NEED_DATA("vocab/ggml-vocab-llama-bpe.gguf");
  const auto file = test::read_bytes(test::data_path("vocab/ggml-vocab-llama-bpe.gguf"));
  const Gguf gguf(file);
  EXPECT_TRUE(gguf.tensors().empty());
  EXPECT_EQ(gguf.array("tokenizer.ggml.merges").size(), 280147u);
  EXPECT_EQ(*gguf.array("tokenizer.ggml.tokens").strings().begin(), "!");
}

}  // namespace
}  // namespace llmos
