// SPDX-License-Identifier: MIT
// Text to tokens and back.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/vocabulary.hpp"

namespace llmos::core {

struct EncodeOptions {
  bool add_special = true;     // BOS and EOS where the model wants them
  bool parse_special = false;  // "<s>" in the text is the control token, not five characters
};

struct DecodeOptions {
  bool special = false;             // write control tokens as their text rather than as nothing
  bool strip_space_prefix = false;  // drop the space that encoding put before a text (models with add_space_prefix)
};

// Immutable; any number of threads may use one Tokenizer at once.
class Tokenizer {
 public:
  explicit Tokenizer(Vocabulary vocabulary);

  const Vocabulary& vocabulary() const { return vocabulary_; }

  // The tokens of a text, in time that grows with its length alone. Text need not be valid UTF-8: what is not becomes
  // byte tokens. decode() gives the same bytes back, but for U+2581 in vocabularies that write spaces so, and bytes
  // that the vocabulary has no token for: they become the unknown token, or nothing where there is none.
  // Fails with EINVAL for texts of more than 1 GiB.
  std::vector<TokenId> encode(std::string_view text, EncodeOptions options = {}) const;

  // The bytes of tokens. A token may hold part of a UTF-8 sequence only: to print while generating use Detokenizer.
  // Fails with EINVAL for an id that is not in the vocabulary.
  std::string decode(std::span<const TokenId> tokens, DecodeOptions options = {}) const;

  // Appends the bytes of one token.
  void append(TokenId token, bool special, std::string& out) const;

 private:
  Vocabulary vocabulary_;
};

// Decodes a stream of tokens so that only whole UTF-8 sequences come out: the bytes of an unfinished character are held
// back until the tokens that finish it arrive. Bytes that can never become a character pass through as they are.
class Detokenizer {
 public:
  // `tokenizer` must outlive the Detokenizer.
  explicit Detokenizer(const Tokenizer& tokenizer, DecodeOptions options = {})
      : tokenizer_(&tokenizer), options_(options) {}

  std::string push(TokenId token);  // what can be shown now
  std::string finish();             // what was still held back

 private:
  const Tokenizer* tokenizer_;
  DecodeOptions options_;
  std::string held_;
  bool started_ = false;
};

}  // namespace llmos::core
