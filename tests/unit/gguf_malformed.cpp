// SPDX-License-Identifier: MIT
// Broken and hostile GGUF files: each field in turn, and the message that names it.
#include <gtest/gtest.h>

#include <cerrno>
#include <functional>
#include <random>
#include <string>

#include "format/gguf.hpp"
#include "support/failure.hpp"
#include "support/gguf_writer.hpp"

namespace llmos {
namespace {

using core::Gguf;
using core::GgufType;
using core::TensorType;
using test::GgufWriter;

// A file field by field, so that any of them can lie.
class Raw {
 public:
  Raw& u8(uint8_t value) { return put(value); }
  Raw& u32(uint32_t value) { return put(value); }
  Raw& u64(uint64_t value) { return put(value); }
  Raw& type(GgufType value) { return put(static_cast<uint32_t>(value)); }
  Raw& text(std::string_view value) {
    u64(value.size());
    for (const char letter : value) put(letter);
    return *this;
  }
  Raw& header(uint64_t tensors, uint64_t pairs) {
    for (const char letter : std::string_view("GGUF")) put(letter);
    return u32(3).u64(tensors).u64(pairs);
  }
  Raw& padding(size_t bytes) {
    bytes_.resize(bytes_.size() + bytes);
    return *this;
  }
  std::vector<std::byte> bytes() const { return bytes_; }

 private:
  template <typename T>
  Raw& put(const T& value) {
    const auto* data = reinterpret_cast<const std::byte*>(&value);
    bytes_.insert(bytes_.end(), data, data + sizeof value);
    return *this;
  }
  std::vector<std::byte> bytes_;
};

// The table entry of a tensor named "t" at byte 24, of one row of four floats, with up to one field changed.
struct TensorFields {
  std::string name = "t";
  std::vector<uint64_t> shape{4};
  uint32_t dimensions = 1;
  uint32_t type = 0;
  uint64_t offset = 0;
};

Raw one_tensor(const TensorFields& fields, size_t data_bytes = 256) {
  Raw raw;
  raw.header(1, 0).text(fields.name).u32(fields.dimensions);
  for (const uint64_t length : fields.shape) raw.u64(length);
  return raw.u32(fields.type).u64(fields.offset).padding(data_bytes);
}

std::vector<std::byte> two_tensors(uint64_t second_offset) {
  Raw raw;
  raw.header(2, 0);
  raw.text("a").u32(1).u64(16).u32(0).u64(0);
  raw.text("b").u32(1).u64(16).u32(0).u64(second_offset);
  return raw.padding(512).bytes();
}

struct Case {
  std::string name;
  int code;
  std::string message;
  std::vector<std::byte> file;
};

std::vector<Case> cases() {
  using enum GgufType;
  const auto pair = [](auto fill) {
    Raw raw;
    raw.header(0, 1);
    fill(raw);
    return raw.padding(64).bytes();
  };
  return {
      {"Empty", EBADMSG, "does not begin with the magic", {}},
      {"MagicCutOff", EBADMSG, "version at byte 4 is cut off: the file ends at byte 4",
       [] {
         auto file = Raw().header(0, 0).bytes();
         file.resize(4);
         return file;
       }()},
      {"MagicShort", EBADMSG, "does not begin with the magic", {std::byte{'G'}, std::byte{'G'}}},
      {"MagicWrong", EBADMSG, "does not begin with the magic", Raw().u32(0x46554748).u32(3).u64(0).u64(0).bytes()},
      {"VersionZero", ENOTSUP, "version 0 at byte 4", Raw().u32(0x46554747).u32(0).u64(0).u64(0).bytes()},
      {"VersionOne", ENOTSUP, "version 1 at byte 4", Raw().u32(0x46554747).u32(1).u32(0).u32(0).bytes()},
      {"VersionFuture", ENOTSUP, "version 4 at byte 4", Raw().u32(0x46554747).u32(4).u64(0).u64(0).bytes()},
      {"BigEndian", ENOTSUP, "big-endian", Raw().u32(0x46554747).u32(0x03000000).u64(0).u64(0).bytes()},
      {"TensorCountCutOff", EBADMSG, "number of tensors at byte 8 is cut off", Raw().u32(0x46554747).u32(3).bytes()},
      {"TensorCountHuge", EBADMSG, "number of tensors at byte 8 is 18446744073709551615, more than",
       Raw().header(~0ull, 0).bytes()},
      {"TensorCountTooLarge", EBADMSG, "number of tensors at byte 8 is 4, more than the 104 bytes left",
       Raw().header(4, 0).padding(96).bytes()},
      {"PairCountCutOff", EBADMSG, "number of metadata pairs at byte 16 is cut off",
       Raw().u32(0x46554747).u32(3).u64(0).bytes()},
      {"PairCountHuge", EBADMSG, "number of metadata pairs at byte 16 is 1152921504606846976",
       Raw().header(0, 1ull << 60).bytes()},
      {"KeyLengthHuge", EBADMSG,
       "length of key of metadata pair 0 at byte 24 is 18446744073709551615, but the file has",
       pair([](Raw& raw) { raw.u64(~0ull); })},
      {"KeyEmpty", EBADMSG, "key of metadata pair 0 at byte 24 has 0 bytes", pair([](Raw& raw) { raw.text(""); })},
      {"KeyTooLong", EBADMSG, "key of metadata pair 0 at byte 24 has 65536 bytes",
       pair([](Raw& raw) { raw.text(std::string(65536, 'k')).type(u8).u8(0); })},
      {"KeyTwice", EBADMSG, "key \"k\" appears twice, as number 0 and number 2",
       Raw().header(0, 3).text("k").type(u8).u8(0).text("j").type(u8).u8(0).text("k").type(u8).u8(0).bytes()},
      {"KeyWithControlCharactersIsEscaped", EBADMSG, "value type of key \"\\x1b[31m\\x0a\" at byte 38 is 13",
       pair([](Raw& raw) { raw.text("\x1b[31m\n").u32(13); })},
      {"ValueTypeUnknown", EBADMSG, "value type of key \"k\" at byte 33 is 13; the last known type is 12",
       pair([](Raw& raw) { raw.text("k").u32(13); })},
      {"ValueCutOff", EBADMSG, "value of key \"key\" at byte 39 is cut off: the file ends at byte 43",
       Raw().header(0, 1).text("key").type(u64).u32(7).bytes()},
      {"BoolOfTwo", EBADMSG, "value of key \"k\" at byte 37 is a bool of 2",
       pair([](Raw& raw) { raw.text("k").type(boolean).u8(2); })},
      {"StringLengthHuge", EBADMSG, "length of value of key \"k\" at byte 37 is 1099511627776",
       pair([](Raw& raw) { raw.text("k").type(string).u64(1ull << 40); })},
      {"ArrayTypeUnknown", EBADMSG, "array element type of key \"k\" at byte 37 is 99",
       pair([](Raw& raw) { raw.text("k").type(array).u32(99).u64(0); })},
      {"ArrayOfArrays", ENOTSUP, "array element type of key \"k\" at byte 37 is an array again",
       pair([](Raw& raw) { raw.text("k").type(array).type(array).u64(1); })},
      {"ArrayLengthHuge", EBADMSG, "array length of key \"k\" at byte 41 is 9223372036854775808",
       pair([](Raw& raw) { raw.text("k").type(array).type(u64).u64(1ull << 63); })},
      {"ArrayLengthOverflowingBytes", EBADMSG, "array length of key \"k\" at byte 41 is 2305843009213693953",
       pair([](Raw& raw) { raw.text("k").type(array).type(f64).u64((1ull << 61) + 1); })},
      {"StringArrayLengthHuge", EBADMSG, "array length of key \"k\" at byte 41 is 9",
       pair([](Raw& raw) { raw.text("k").type(array).type(string).u64(9); })},
      {"StringArrayElementHuge", EBADMSG, "length of array element of key \"k\" at byte 58 is 66, but the file has 64",
       pair([](Raw& raw) { raw.text("k").type(array).type(string).u64(2).text("x").u64(66); })},
      {"AlignmentZero", EBADMSG, "\"general.alignment\" is 0", GgufWriter().set("general.alignment", 0u).header()},
      {"AlignmentNoPowerOfTwo", EBADMSG, "\"general.alignment\" is 48",
       GgufWriter().set("general.alignment", 48u).header()},
      {"AlignmentOfAnotherType", EINVAL, "\"general.alignment\" is of type string",
       GgufWriter().set("general.alignment", "32").header()},
      {"Split", ENOTSUP, "part 2 of a model split into 3 files",
       GgufWriter().set("split.no", uint16_t{1}).set("split.count", uint16_t{3}).header()},
      {"TensorNameEmpty", EBADMSG, "name of tensor 0 at byte 24 has 0 bytes", one_tensor({.name = ""}).bytes()},
      {"TensorNameTooLong", EBADMSG, "name of tensor 0 at byte 24 has 65 bytes",
       one_tensor({.name = std::string(65, 'n')}).bytes()},
      {"TensorNameTwice", EBADMSG, "tensor \"a\" appears twice, as number 0 and number 1",
       GgufWriter()
           .tensor("a", TensorType::f32, {1}, std::vector<float>{1})
           .tensor("a", TensorType::f32, {1}, std::vector<float>{1})
           .bytes()},
      {"DimensionsZero", EBADMSG, "number of dimensions of tensor \"t\" at byte 33 is 0",
       one_tensor({.shape = {}, .dimensions = 0}).bytes()},
      {"DimensionsFive", EBADMSG, "number of dimensions of tensor \"t\" at byte 33 is 5",
       one_tensor({.shape = {1, 1, 1, 1, 1}, .dimensions = 5}).bytes()},
      {"DimensionOfZero", EBADMSG, "dimension 1 of tensor \"t\" at byte 45 is 0",
       one_tensor({.shape = {4, 0}, .dimensions = 2}).bytes()},
      {"DimensionsOverflow", EBADMSG, "dimension 2 of tensor \"t\" at byte 53 is 4294967296",
       one_tensor({.shape = {1ull << 20, 1ull << 20, 1ull << 32}, .dimensions = 3}).bytes()},
      {"DimensionNegative", EBADMSG, "dimension 0 of tensor \"t\" at byte 37 is 18446744073709551615",
       one_tensor({.shape = {~0ull}}).bytes()},
      {"BytesOverflow", EBADMSG, "tensor \"t\" is too large", one_tensor({.shape = {1ull << 62}}).bytes()},
      {"TensorTypeWild", EBADMSG, "type of tensor \"t\" at byte 45 is 4096", one_tensor({.type = 4096}).bytes()},
      {"TensorOffsetMisaligned", EBADMSG, "offset of tensor \"t\" at byte 49 is 8, which is no multiple",
       one_tensor({.offset = 8}).bytes()},
      {"TensorOffsetPastTheEnd", EBADMSG, "tensor \"t\" should be 16 bytes at byte 4096 of the data section",
       one_tensor({.offset = 4096}).bytes()},
      {"TensorOffsetWrapping", EBADMSG, "tensor \"t\" should be 16 bytes at byte 18446744073709551584",
       one_tensor({.offset = ~0ull - 31}).bytes()},
      {"TensorDataCutOff", EBADMSG, "tensor \"t\" should be 16 bytes at byte 0 of the data section, which has 15",
       one_tensor({}, 7 + 15).bytes()},
      {"TensorPaddingCutOff", EBADMSG, "data should begin after 7 bytes of padding at byte 57, but the file ends at 60",
       one_tensor({}, 3).bytes()},
      {"UnknownTypePastTheEnd", EBADMSG, "tensor \"t\" should be 0 bytes at byte 512",
       one_tensor({.type = 39, .offset = 512}).bytes()},
      {"RowOfBrokenBlocks", EBADMSG, "tensor \"t\" has rows of 40 elements, which are no whole blocks of Q4_0",
       one_tensor({.shape = {40}, .type = 2}).bytes()},
      {"TensorsOverlap", EBADMSG, "tensor \"b\" at byte 128 overlaps tensor \"a\", which ends at byte 160",
       two_tensors(32)},
      {"TensorsAtOnePlace", EBADMSG, "overlaps tensor", two_tensors(0)},
  };
}

class GgufMalformed : public testing::TestWithParam<Case> {};

TEST_P(GgufMalformed, IsRefusedByName) {
  // Exactly as large as the file, so that a sanitizer sees the first byte read past it.
  const std::vector<std::byte> file = GetParam().file;
  EXPECT_FAILURE(GetParam().code, GetParam().message, Gguf(file));
}

INSTANTIATE_TEST_SUITE_P(Field, GgufMalformed, testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

TEST(GgufMalformedSet, TheSoundFilesBehindTheCasesAreAccepted) {
  EXPECT_NO_THROW(Gguf(one_tensor({}).bytes()));
  EXPECT_NO_THROW(Gguf(two_tensors(64)));
  EXPECT_NO_THROW(Gguf(one_tensor({}, 7 + 16).bytes()));
}

GgufWriter small_model() {
  GgufWriter writer;
  writer.set("general.architecture", "llama")
      .set("n", uint32_t{3})
      .set_array("names", std::vector<std::string>{"a", "b"});
  writer.tensor("x", TensorType::f32, {8}, std::vector<float>(8));
  writer.tensor("y", TensorType::q4_0, {32, 2}, std::vector<uint8_t>(36));
  return writer;
}

void read_everything(const Gguf& gguf) {
  for (const core::GgufValue& value : gguf.metadata()) {
    if (value.type != GgufType::array || value.element != GgufType::string) continue;
    for (const std::string_view text : gguf.array(value.key).strings()) ASSERT_LE(text.size(), gguf.bytes().size());
  }
  for (const core::GgufTensor& tensor : gguf.tensors()) {
    if (tensor.bytes == 0) continue;
    const core::TensorView view = gguf.view(tensor);
    ASSERT_GE(view.data, gguf.bytes().data());
    ASSERT_LE(view.data + view.bytes(), gguf.bytes().data() + gguf.bytes().size());
  }
}

TEST(GgufMalformedSet, EveryTruncationIsRefused) {
  const auto whole = small_model().bytes();
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::vector<std::byte> file(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    EXPECT_THROW(Gguf{file}, core::Failure) << size;
  }
}

TEST(GgufMalformedSet, RandomDamageNeverReachesOutsideTheFile) {
  const auto sound = small_model().bytes();
  std::mt19937 random(1);
  size_t accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    auto file = sound;
    for (int count = 1 + static_cast<int>(random() % 3); count > 0; --count)
      file[random() % file.size()] = static_cast<std::byte>(random());
    try {
      const Gguf gguf(file);
      read_everything(gguf);
      ++accepted;
    } catch (const core::Failure&) {
    }
  }
  EXPECT_GT(accepted, 0u);
  EXPECT_LT(accepted, 20000u);
}

}  // namespace
}  // namespace llmos
