// SPDX-License-Identifier: MIT
#include "text/tokenizer.hpp"

#include <cerrno>
#include <charconv>
#include <utility>

#include "system/error.hpp"
#include "text/byte_alphabet.hpp"
#include "text/encoder.hpp"
#include "text/special_tokens.hpp"
#include "text/unicode.hpp"

namespace llmos::core {
namespace {

constexpr size_t longest_text = size_t{1} << 30;  // its escaped form and its offsets fit 32 bits

// The byte that a token "<0x0A>" stands for; -1 when the token is written otherwise.
int byte_of_name(std::string_view name) {
  if (name.size() != 6 || !name.starts_with("<0x") || name[5] != '>') return -1;
  unsigned value = 0;
  const auto [end, error] = std::from_chars(name.data() + 3, name.data() + 5, value, 16);
  return error == std::errc() && end == name.data() + 5 ? static_cast<int>(value) : -1;
}

void append_unescaped(std::string_view text, std::string& out) {
  for (size_t begin = 0;;) {
    const size_t space = text.find(escaped_space, begin);
    out += text.substr(begin, space - begin);
    if (space == std::string_view::npos) return;
    out += ' ';
    begin = space + escaped_space.size();
  }
}

// Characters that stand for no byte are taken as they are.
void append_unspelled(std::string_view text, std::string& out) {
  while (!text.empty()) {
    const CodePoint character = decode_code_point(text);
    const int byte = byte_of_character(character.value);
    if (byte >= 0)
      out += static_cast<char>(byte);
    else
      out += text.substr(0, character.bytes);
    text.remove_prefix(character.bytes);
  }
}

}  // namespace

Tokenizer::Tokenizer(Vocabulary vocabulary) : vocabulary_(std::move(vocabulary)) {}

std::vector<TokenId> Tokenizer::encode(std::string_view text, EncodeOptions options) const {
  if (text.size() > longest_text)
    fail(EINVAL, "tokenize: a text of {} bytes; {} are possible", text.size(), longest_text);
  const SpecialTokens& special = vocabulary_.special();
  std::vector<TokenId> tokens;
  Encoder encoder(vocabulary_, tokens);
  if (options.add_special && special.add_bos) tokens.push_back(special.bos);
  bool begins = true;
  for (const Fragment& fragment : split_special(vocabulary_, text, options.parse_special)) {
    if (fragment.token == no_token)
      encoder.encode(fragment.text, begins);
    else
      tokens.push_back(fragment.token);
    begins = fragment.token != no_token;
  }
  if (options.add_special && special.add_eos) tokens.push_back(special.eos);
  return tokens;
}

void Tokenizer::append(TokenId token, bool special, std::string& out) const {
  const std::string_view text = vocabulary_.text(token);
  switch (vocabulary_.type(token)) {
    case TokenType::normal:
      return vocabulary_.kind() == TokenizerKind::byte_bpe ? append_unspelled(text, out) : append_unescaped(text, out);
    case TokenType::user_defined:
      out += text;
      return;
    case TokenType::byte: {
      const int byte = byte_of_name(text);
      if (byte >= 0)
        out += static_cast<char>(byte);
      else
        out += text;
      return;
    }
    case TokenType::control:
    case TokenType::unknown:
      if (special) out += text;
      return;
    case TokenType::undefined:
    case TokenType::unused:
      return;
  }
}

std::string Tokenizer::decode(std::span<const TokenId> tokens, DecodeOptions options) const {
  std::string text;
  for (const TokenId token : tokens) append(token, options.special, text);
  if (options.strip_space_prefix && vocabulary_.special().add_space_prefix && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

std::string Detokenizer::push(TokenId token) {
  tokenizer_->append(token, options_.special, held_);
  if (!started_ && !held_.empty()) {
    started_ = true;
    const bool prefixed = tokenizer_->vocabulary().special().add_space_prefix;
    if (options_.strip_space_prefix && prefixed && held_.front() == ' ') held_.erase(0, 1);
  }
  std::string ready = held_.substr(0, held_.size() - unfinished_utf8(held_));
  held_.erase(0, ready.size());
  return ready;
}

std::string Detokenizer::finish() { return std::exchange(held_, {}); }

}  // namespace llmos::core
