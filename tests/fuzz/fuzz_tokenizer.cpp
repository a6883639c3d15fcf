// SPDX-License-Identifier: MIT
// Any bytes as a text, through every kind of tokenizer: what comes out decodes to what went in. The first byte chooses
// the tokenizer and the options; read as token ids, the rest decodes as well, at once and as a stream.
#include <cstdint>
#include <cstring>
#include <string_view>

#include "fuzz/check.hpp"
#include "fuzz/small_tokenizers.hpp"
#include "system/error.hpp"

namespace {

using namespace llmos::core;

void round_trip(const Tokenizer& tokenizer, std::string_view text, bool parse_special) {
  const auto ids = tokenizer.encode(text, {.add_special = false, .parse_special = parse_special});
  FUZZ_CHECK(ids.size() <= 2 * text.size() + 1);
  const bool spaces_are_written_otherwise =
      text.find(escaped_space) != std::string_view::npos && tokenizer.vocabulary().kind() != TokenizerKind::byte_bpe;
  if (spaces_are_written_otherwise || parse_special) return;
  std::string decoded = tokenizer.decode(ids);
  // A space is put before a text at its beginning and after every special token.
  if (!tokenizer.vocabulary().special().add_space_prefix)
    FUZZ_CHECK(decoded == text);
  else
    FUZZ_CHECK(decoded.size() >= text.size());
}

void decode_any(const Tokenizer& tokenizer, std::string_view bytes) {
  std::vector<TokenId> ids;
  for (size_t at = 0; at + 2 <= bytes.size(); at += 2) {
    uint16_t number;
    std::memcpy(&number, bytes.data() + at, sizeof number);
    ids.push_back(static_cast<TokenId>(number % tokenizer.vocabulary().size()));
  }
  Detokenizer stream(tokenizer, {.special = true});
  std::string text;
  for (const TokenId id : ids) text += stream.push(id);
  FUZZ_CHECK(text + stream.finish() == tokenizer.decode(ids, {.special = true}));
  try {
    ids.push_back(static_cast<TokenId>(tokenizer.vocabulary().size()));
    tokenizer.decode(ids);
    FUZZ_CHECK(!"an id past the end was decoded");
  } catch (const Failure&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<Tokenizer> tokenizers = llmos::test::small_tokenizers();
  if (size == 0) return 0;
  const Tokenizer& tokenizer = tokenizers[data[0] % 16 % tokenizers.size()];
  // A copy, so that reading one byte past the end is seen.
  const std::vector<char> text(data + 1, data + size);
  const std::string_view view(text.data(), text.size());
  round_trip(tokenizer, view, data[0] & 16);
  tokenizer.encode(view);
  decode_any(tokenizer, view);
  return 0;
}
