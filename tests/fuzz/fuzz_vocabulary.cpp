// SPDX-License-Identifier: MIT
// Any bytes as a vocabulary image. The fields that tell an image from other bytes are put right, as a forger would, so
// that the fuzzer gets to the tables.
#include <cstdint>
#include <cstring>
#include <vector>

#include "fuzz/check.hpp"
#include "system/error.hpp"
#include "text/tokenizer.hpp"
#include "text/vocabulary_image.hpp"

namespace {

using namespace llmos::core;

void put_right(std::vector<std::byte>& image) {
  if (image.size() < sizeof(VocabularyHeader)) return;
  VocabularyHeader header;
  std::memcpy(&header, image.data(), sizeof header);
  header.magic = VocabularyHeader::expected_magic;
  header.version = VocabularyHeader::current_version;
  header.byte_order = VocabularyHeader::expected_byte_order;
  header.image_bytes = image.size();
  header.checksum = header_checksum(header);
  std::memcpy(image.data(), &header, sizeof header);
}

void use(const Tokenizer& tokenizer) {
  const Vocabulary& vocabulary = tokenizer.vocabulary();
  for (uint32_t index = 0; index < vocabulary.size() && index < 64; ++index) {
    const auto id = static_cast<TokenId>(index);
    vocabulary.type(id), vocabulary.score(id), vocabulary.ends_generation(id);
    vocabulary.find_merge(id, id / 2);
    const TokenId found = vocabulary.find(vocabulary.text(id));
    FUZZ_CHECK(found == no_token || vocabulary.text(found) == vocabulary.text(id));
  }
}

template <typename Action>
void try_to(Action action) {
  try {
    action();
  } catch (const Failure&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> image(begin, begin + size);
  put_right(image);
  try_to([&] {
    const Tokenizer tokenizer(Vocabulary::view(image));
    try_to([&] { use(tokenizer); });
    for (const char* text : {"the a<s>\n\n\n  ab", "<<<<<", "\xff\xe2\x96\x81\xc3\xa9 12's"})
      for (const bool parse : {false, true})
        try_to([&] { tokenizer.decode(tokenizer.encode(text, {.parse_special = parse}), {.special = true}); });
  });
  return 0;
}
