// SPDX-License-Identifier: MIT
// Reading sound GGUF files.
#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "format/gguf.hpp"
#include "support/failure.hpp"
#include "support/gguf_writer.hpp"
#include "support/test_data.hpp"

namespace llmos {
namespace {

using core::Gguf;
using core::GgufType;
using core::TensorType;
using test::GgufWriter;

GgufWriter every_type() {
  GgufWriter writer;
  writer.set("general.architecture", "llama");
  writer.set("a.u8", uint8_t{200}).set("a.i8", int8_t{-100});
  writer.set("a.u16", uint16_t{60000}).set("a.i16", int16_t{-30000});
  writer.set("a.u32", uint32_t{4000000000}).set("a.i32", int32_t{-2000000000});
  writer.set("a.u64", uint64_t{1} << 63).set("a.i64", INT64_MIN);
  writer.set("a.f32", 1.5f).set("a.f64", 0.1);
  writer.set("a.true", true).set("a.false", false);
  writer.set("a.string", std::string("caf\xc3\xa9\0!", 7)).set("a.empty", "");
  return writer;
}

TEST(GgufRead, NumbersOfEveryType) {
  const auto file = every_type().bytes();
  const Gguf gguf(file);
  EXPECT_EQ(gguf.version(), 3u);
  EXPECT_EQ(gguf.architecture(), "llama");
  EXPECT_EQ(gguf.u32("a.u8"), 200u);
  EXPECT_EQ(gguf.get<int32_t>("a.i8"), -100);
  EXPECT_EQ(gguf.u32("a.u16"), 60000u);
  EXPECT_EQ(gguf.get<int64_t>("a.i16"), -30000);
  EXPECT_EQ(gguf.u64("a.u32"), 4000000000u);
  EXPECT_EQ(gguf.get<int32_t>("a.i32"), -2000000000);
  EXPECT_EQ(gguf.u64("a.u64"), uint64_t{1} << 63);
  EXPECT_EQ(gguf.get<int64_t>("a.i64"), INT64_MIN);
  EXPECT_EQ(gguf.f32("a.f32"), 1.5f);
  EXPECT_EQ(gguf.get<double>("a.f64"), 0.1);
  EXPECT_EQ(gguf.f32("a.f64"), 0.1f);
  EXPECT_TRUE(gguf.boolean("a.true"));
  EXPECT_FALSE(gguf.boolean("a.false"));
  EXPECT_EQ(gguf.string("a.string"), std::string_view("caf\xc3\xa9\0!", 7));
  EXPECT_EQ(gguf.string("a.empty"), "");
}

TEST(GgufRead, StringsAreViewsOfTheFile) {
  const auto file = every_type().bytes();
  const Gguf gguf(file);
  const auto* begin = reinterpret_cast<const char*>(file.data());
  for (const core::GgufValue& value : gguf.metadata()) {
    EXPECT_GE(value.key.data(), begin);
    EXPECT_LT(value.key.data(), begin + file.size());
  }
  EXPECT_GT(gguf.string("a.string").data(), begin);
  EXPECT_LT(gguf.string("a.string").data(), begin + file.size());
}

TEST(GgufRead, AbsentKeys) {
  const auto file = every_type().bytes();
  const Gguf gguf(file);
  EXPECT_EQ(gguf.get_if<uint32_t>("no.such"), std::nullopt);
  EXPECT_EQ(gguf.find("no.such"), nullptr);
  EXPECT_FALSE(gguf.contains("a.u"));
  EXPECT_FALSE(gguf.contains("a.u88"));
  EXPECT_FAILURE(ENOENT, "no key \"no.such\"", gguf.u32("no.such"));
}

TEST(GgufRead, ConversionsThatWouldChangeTheValueFail) {
  const auto file = every_type().bytes();
  const Gguf gguf(file);
  EXPECT_FAILURE(EINVAL, "key \"a.i8\" is -100, which does not fit 32 bits", gguf.u32("a.i8"));
  EXPECT_FAILURE(EINVAL, "key \"a.u64\" is 9223372036854775808, which does not fit 32 bits", gguf.u32("a.u64"));
  EXPECT_FAILURE(EINVAL, "does not fit 64 bits with a sign", gguf.get<int64_t>("a.u64"));
  EXPECT_FAILURE(EINVAL, "key \"a.f32\" is of type f32 where an integer is wanted", gguf.u32("a.f32"));
  EXPECT_FAILURE(EINVAL, "key \"a.u32\" is of type u32 where a float is wanted", gguf.f32("a.u32"));
  EXPECT_FAILURE(EINVAL, "key \"a.true\" is of type bool where an integer is wanted", gguf.u32("a.true"));
  EXPECT_FAILURE(EINVAL, "key \"a.u8\" is of type u8 where bool is wanted", gguf.boolean("a.u8"));
  EXPECT_FAILURE(EINVAL, "key \"a.u8\" is of type u8 where a string is wanted", gguf.string("a.u8"));
  EXPECT_FAILURE(EINVAL, "key \"a.string\" is of type string where an array is wanted", gguf.array("a.string"));
  EXPECT_FAILURE(EINVAL, "key \"a.u64\" is 9223372036854775808", gguf.get_if<uint32_t>("a.u64"));
}

TEST(GgufRead, Arrays) {
  GgufWriter writer;
  writer.set("pad", uint8_t{1});  // so that what follows is misaligned
  writer.set_array("i32", {-1, 2, 3}).set_array("f32", {0.5f, -2.0f}).set_array("u64", {~uint64_t{0}});
  writer.set_array("bool", std::vector<bool>{true, false}).set_array("none", std::vector<float>{});
  writer.set_array("strings", std::vector<std::string>{"one", "", "three"});
  const auto file = writer.bytes();
  const Gguf gguf(file);

  EXPECT_EQ(gguf.array("i32").size(), 3u);
  EXPECT_EQ(gguf.array("i32").integer(0), -1);
  EXPECT_EQ(gguf.array("i32").copy<int32_t>(), (std::vector<int32_t>{-1, 2, 3}));
  EXPECT_EQ(gguf.array("f32").number(1), -2.0);
  EXPECT_EQ(gguf.array("f32").copy<float>(), (std::vector<float>{0.5f, -2.0f}));
  EXPECT_EQ(gguf.array("bool").integer(0), 1);
  EXPECT_EQ(gguf.array("bool").integer(1), 0);
  EXPECT_EQ(gguf.array("none").size(), 0u);
  EXPECT_TRUE(gguf.array("none").copy<float>().empty());
  std::vector<std::string_view> strings;
  for (const std::string_view text : gguf.array("strings").strings()) strings.push_back(text);
  EXPECT_EQ(strings, (std::vector<std::string_view>{"one", "", "three"}));

  EXPECT_FAILURE(EINVAL, "key \"i32\" has 3 elements; number 3 was asked for", gguf.array("i32").integer(3));
  EXPECT_FAILURE(EINVAL, "does not fit 64 bits", gguf.array("u64").integer(0));
  EXPECT_FAILURE(EINVAL, "of type f32 where an integer", gguf.array("f32").integer(0));
  EXPECT_FAILURE(EINVAL, "of type string where an integer", gguf.array("strings").integer(0));
  EXPECT_FAILURE(EINVAL, "key \"i32\" is an array of i32 where f32 is wanted", gguf.array("i32").copy<float>());
  EXPECT_FAILURE(EINVAL, "key \"f32\" is an array of f32 where string is wanted", gguf.array("f32").strings());
}

TEST(GgufRead, TensorsByName) {
  GgufWriter writer;
  const std::vector<float> values{1, 2, 3, 4, 5, 6};
  writer.tensor("b", TensorType::f32, {3, 2}, values);
  writer.tensor("a", TensorType::q8_0, {64, 1, 5}, std::vector<uint8_t>(34 * 10, 7));
  writer.tensor("c", TensorType::f16, {2, 1, 1, 1}, std::vector<uint16_t>{9, 9});
  const auto file = writer.bytes();
  const Gguf gguf(file);

  ASSERT_EQ(gguf.tensors().size(), 3u);
  EXPECT_EQ(gguf.tensors()[0].name, "b");
  EXPECT_EQ(gguf.tensors()[1].name, "a");
  EXPECT_EQ(gguf.tensors()[1].dimensions, 3u);
  EXPECT_EQ(gguf.tensors()[2].dimensions, 4u);
  const core::TensorView b = gguf.tensor("b");
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(b.shape, (std::array<uint64_t, 4>{3, 2, 1, 1}));
  EXPECT_EQ(b.bytes(), sizeof(float) * 6);
  EXPECT_EQ(0, std::memcmp(b.data, values.data(), b.bytes()));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(b.data) - reinterpret_cast<uintptr_t>(file.data()), gguf.data_offset());
  EXPECT_EQ(gguf.tensor("a").rows(), 5u);
  EXPECT_EQ(gguf.tensor("a").bytes(), 340u);
  EXPECT_EQ(gguf.tensor("a").data[339], std::byte{7});
  EXPECT_EQ(gguf.tensor_if("d"), std::nullopt);
  EXPECT_FAILURE(ENOENT, "no tensor \"d\"", gguf.tensor("d"));
}

TEST(GgufRead, TensorOfUnknownTypeIsListedAndFailsWhenUsed) {
  GgufWriter writer;
  writer.raw_tensor("odd", 39, {32}, 17, [](auto) {});
  writer.tensor("even", TensorType::f32, {1}, std::vector<float>{4});
  const auto file = writer.bytes();
  const Gguf gguf(file);
  ASSERT_NE(gguf.find_tensor("odd"), nullptr);
  EXPECT_EQ(gguf.find_tensor("odd")->type_number, 39u);
  EXPECT_EQ(gguf.find_tensor("odd")->bytes, 0u);
  EXPECT_FAILURE(ENOTSUP, "tensor \"odd\" has ggml type number 39", gguf.tensor("odd"));
  EXPECT_EQ(gguf.tensor("even").rows(), 1u);
}

TEST(GgufRead, Alignment) {
  for (const uint32_t alignment : {1u, 8u, 64u, 4096u}) {
    GgufWriter writer;
    writer.alignment(alignment);
    writer.tensor("a", TensorType::f32, {1}, std::vector<float>{1});
    writer.tensor("b", TensorType::f32, {1}, std::vector<float>{2});
    const auto file = writer.bytes();
    const Gguf gguf(file);
    EXPECT_EQ(gguf.alignment(), alignment);
    EXPECT_EQ(gguf.find_tensor("b")->offset % alignment, 0u);
    float b;
    std::memcpy(&b, gguf.tensor("b").data, sizeof b);
    EXPECT_EQ(b, 2.0f);
  }
}

TEST(GgufRead, VersionTwoHasTheSameLayout) {
  auto file = every_type().bytes();
  file[4] = std::byte{2};
  EXPECT_EQ(Gguf(file).version(), 2u);
  EXPECT_EQ(Gguf(file).u32("a.u8"), 200u);
}

TEST(GgufRead, HeaderWithoutTensorsMayEndUnpadded) {
  GgufWriter writer;
  writer.set("k", uint8_t{1});
  auto file = writer.header();
  file.resize(4 + 4 + 8 + 8 + (8 + 1 + 4 + 1));
  const Gguf gguf(file);
  EXPECT_EQ(gguf.data_offset(), file.size());
}

TEST(GgufRead, WriterStreamsTheSameBytesToAFile) {
  GgufWriter writer = every_type();
  writer.tensor("a", TensorType::f32, {3}, std::vector<float>{1, 2, 3});
  writer.tensor("b", TensorType::f32, {1}, std::vector<float>{4});
  const auto path = std::filesystem::path(testing::TempDir()) / "llmos_gguf_writer.gguf";
  writer.write(path);
  EXPECT_EQ(test::read_bytes(path), writer.bytes());
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace llmos
