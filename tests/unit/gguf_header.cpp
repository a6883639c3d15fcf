// SPDX-License-Identifier: MIT
// Copied headers: small, and beside their file as good as the one inside of it.
#include <gtest/gtest.h>

#include <cerrno>

#include "format/gguf.hpp"
#include "support/failure.hpp"
#include "support/gguf_writer.hpp"
#include "support/test_data.hpp"

namespace llmos {
namespace {

using core::Gguf;
using core::TensorType;
using test::GgufWriter;
using Strings = std::vector<std::string>;

GgufWriter model() {
  GgufWriter writer;
  writer.alignment(64).set("general.architecture", "llama").set("rope", 1.5f).set("flag", true);
  writer.set_array("general.tags", Strings{"a", "", "bc"}).set_array("windows", {1, 2, 3});
  writer.set_array("tokenizer.ggml.tokens", Strings(1000, "token")).set("tokenizer.ggml.model", "llama");
  writer.tensor("x", TensorType::f32, {8, 2}, std::vector<float>(16, 0.5f));
  writer.raw_tensor("odd", 39, {32}, 17, [](auto) {});
  writer.tensor("y", TensorType::q8_0, {32}, std::vector<uint8_t>(34, 3));
  return writer;
}

TEST(GgufHeader, ACopyHasEverythingButTheVocabulary) {
  const auto file = model().bytes();
  const Gguf whole(file);
  const auto header = whole.copy_header();
  const Gguf copy(header, file);
  EXPECT_LT(header.size(), 700u);
  EXPECT_FALSE(copy.contains("tokenizer.ggml.tokens"));
  EXPECT_EQ(copy.string("tokenizer.ggml.model"), "llama");
  EXPECT_EQ(copy.architecture(), "llama");
  EXPECT_EQ(copy.f32("rope"), 1.5f);
  EXPECT_TRUE(copy.boolean("flag"));
  EXPECT_EQ(copy.array("windows").copy<int32_t>(), (std::vector<int32_t>{1, 2, 3}));
  const auto tags = copy.array("general.tags").strings();
  EXPECT_EQ((std::vector<std::string_view>(tags.begin(), tags.end())), (std::vector<std::string_view>{"a", "", "bc"}));
  EXPECT_EQ(copy.alignment(), 64u);
  EXPECT_EQ(copy.data_offset(), whole.data_offset());
  ASSERT_EQ(copy.tensors().size(), 3u);
  for (const core::GgufTensor& tensor : whole.tensors()) {
    const core::GgufTensor* same = copy.find_tensor(tensor.name);
    ASSERT_NE(same, nullptr);
    EXPECT_EQ(same->offset, tensor.offset);
    EXPECT_EQ(same->bytes, tensor.bytes);
    EXPECT_EQ(same->shape, tensor.shape);
    EXPECT_EQ(same->type_number, tensor.type_number);
  }
  EXPECT_EQ(copy.tensor("y").data, whole.tensor("y").data);
}

TEST(GgufHeader, ACopyOfACopyIsTheSame) {
  const auto file = model().bytes();
  const auto header = Gguf(file).copy_header();
  EXPECT_EQ(Gguf(header, file).copy_header(), header);
}

TEST(GgufHeader, AForeignOrShorterFileIsRefused) {
  const auto file = model().bytes();
  const auto header = Gguf(file).copy_header();
  const auto with = [&](size_t size) { return Gguf(header, std::span(file).first(size)); };
  EXPECT_FAILURE(EBADMSG, "tensor \"y\" should be 34 bytes", with(file.size() - 1));
  EXPECT_FAILURE(EBADMSG, "key \"llmos.data_offset\" is", with(100));
  EXPECT_FAILURE(ENOENT, "no key \"llmos.data_offset\"", Gguf(model().header(), file));
  GgufWriter odd;
  odd.set("llmos.data_offset", uint64_t{8}).tensor("x", TensorType::f32, {1}, std::vector<float>{1});
  EXPECT_FAILURE(EBADMSG, "key \"llmos.data_offset\" is 8", Gguf(odd.header(), file));
}

TEST(GgufHeader, RealFile) {
  LLMOS_NEED_DATA("models/stories260K-F32.gguf");
  const auto file = test::read_bytes(test::data_path("models/stories260K-F32.gguf"));
  const Gguf whole(file);
  const auto header = whole.copy_header();
  const Gguf copy(header, file);
  EXPECT_LT(header.size(), 4500u);
  for (const core::GgufTensor& tensor : whole.tensors())
    EXPECT_EQ(copy.tensor(tensor.name).data, whole.tensor(tensor.name).data);
}

}  // namespace
}  // namespace llmos
