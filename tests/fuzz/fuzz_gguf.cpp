// SPDX-License-Identifier: MIT
// Any bytes as a GGUF file: everything in it is read, and a tokenizer made of it where it has one.
#include <cstdint>
#include <string>
#include <vector>

#include "format/gguf_vocabulary.hpp"
#include "fuzz/check.hpp"
#include "system/error.hpp"

namespace {

using namespace llmos::core;

template <typename Action>
void try_to(Action action) {
  try {
    action();
  } catch (const Failure&) {
  }
}

bool inside(const Gguf& gguf, const void* data, uint64_t bytes) {
  const auto* begin = static_cast<const std::byte*>(data);
  return begin >= gguf.bytes().data() && bytes <= gguf.bytes().size() &&
         begin <= gguf.bytes().data() + (gguf.bytes().size() - bytes);
}

void read_array(const GgufArray& array) {
  if (array.element() == GgufType::string) {
    uint64_t count = 0;
    for (const std::string_view text : array.strings()) count += text.size() <= UINT64_MAX;
    FUZZ_CHECK(count == array.size());
    return;
  }
  for (uint64_t index = 0; index < array.size(); ++index) {
    try_to([&] { array.integer(index); });
    try_to([&] { array.number(index); });
  }
}

void read_metadata(const Gguf& gguf) {
  for (const GgufValue& value : gguf.metadata()) {
    FUZZ_CHECK(gguf.find(value.key) == &value);
    FUZZ_CHECK(inside(gguf, value.key.data(), value.key.size()));
    try_to([&] { gguf.u32(value.key); });
    try_to([&] { gguf.get<int64_t>(value.key); });
    try_to([&] { gguf.f32(value.key); });
    try_to([&] { gguf.boolean(value.key); });
    try_to([&] { FUZZ_CHECK(inside(gguf, gguf.string(value.key).data(), gguf.string(value.key).size())); });
    if (value.type == GgufType::array) read_array(gguf.array(value.key));
  }
}

void read_tensors(const Gguf& gguf) {
  for (const GgufTensor& tensor : gguf.tensors()) {
    FUZZ_CHECK(gguf.find_tensor(tensor.name) == &tensor);
    try_to([&] {
      const TensorView view = gguf.tensor(tensor.name);
      FUZZ_CHECK(view.bytes() == tensor.bytes);
      FUZZ_CHECK(inside(gguf, view.data, view.bytes()));
    });
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // A copy, so that reading one byte past the end is seen.
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  const std::vector<std::byte> file(begin, begin + size);
  try_to([&] {
    const Gguf gguf(file);
    read_metadata(gguf);
    read_tensors(gguf);
    const Tokenizer tokenizer = make_tokenizer(gguf);
    for (const bool parse : {false, true})
      tokenizer.decode(tokenizer.encode("Hello <s> \xe2\x96\x81\xff 12\n\n", {.parse_special = parse}),
                       {.special = true});
  });
  return 0;
}
