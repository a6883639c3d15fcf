// SPDX-License-Identifier: MIT
// A model's tokens, with everything a tokenizer looks up, as one flat image without pointers.
//
// A Vocabulary is built once from what a model file says (VocabularySource) and then *is* its image: image() can be
// stored in a prepared index, and Vocabulary::view() attaches to such an image wherever it is mapped, in microseconds
// and without copying. Attaching checks the header and the extent of every table; the entries are checked as they are
// used, so a hostile image yields wrong tokens or a Failure(EBADMSG), never an access outside of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace llmos::core {

using TokenId = int32_t;
inline constexpr TokenId no_token = -1;

// How vocabularies of characters write a space: U+2581.
inline constexpr std::string_view escaped_space = "\xe2\x96\x81";

// A set of bytes.
class ByteSet {
 public:
  bool contains(char byte) const { return words_[index(byte) / 64] >> (index(byte) % 64) & 1; }
  void insert(char byte) { words_[index(byte) / 64] |= uint64_t{1} << (index(byte) % 64); }

 private:
  static uint8_t index(char byte) { return static_cast<uint8_t>(byte); }
  std::array<uint64_t, 4> words_{};
};

// How text becomes tokens.
enum class TokenizerKind : uint32_t {
  spm = 1,       // SentencePiece: characters merged by the score of the result, bytes for what is left
  byte_bpe = 2,  // bytes, written as printable characters, merged by rank within pre-tokenized words
  char_bpe = 3,  // characters, spaces written as U+2581, merged by rank within lines (Gemma 4)
};

// How byte_bpe cuts text into words before merging. Named for the first model that used it.
enum class PreTokenizer : uint32_t {
  none = 0,     // spm and char_bpe
  unnamed = 1,  // for files that name none
  gpt2 = 2,
  llama3 = 3,
  qwen2 = 4,
  deepseek_llm = 5,
  deepseek_coder = 6,
  deepseek_v3 = 7,
  starcoder = 8,
  tekken = 9,
  gpt4o = 10,
};
inline constexpr uint32_t pre_tokenizer_count = 11;

// What a token is for; the numbers are those of tokenizer.ggml.token_type.
enum class TokenType : uint8_t {
  undefined = 0,
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6,
};

// The tokens with a role, and what encoding adds by itself.
struct SpecialTokens {
  TokenId bos = no_token;
  TokenId eos = no_token;
  TokenId eot = no_token;  // end of a turn
  TokenId unknown = no_token;
  TokenId padding = no_token;
  bool add_bos = false;
  bool add_eos = false;
  bool add_space_prefix = false;  // a text that begins a message is read as if it began with a space
};

// What a model file says about its tokens: a plain struct that a format fills. The views must live until
// Vocabulary::build() returns.
struct VocabularySource {
  TokenizerKind kind = TokenizerKind::spm;
  PreTokenizer pre_tokenizer = PreTokenizer::none;
  bool ignore_merges = false;  // a word that is a token needs no merges (Llama 3)
  SpecialTokens special;
  std::vector<std::string_view> tokens;  // by id, as the file writes them
  std::vector<TokenType> types;          // by id; empty: all normal
  std::vector<float> scores;             // by id; empty: all 0. Only spm reads them
  std::vector<std::string_view> merges;  // "left right", by rank. Only the BPE kinds read them
};

struct TextSlot;
struct MergeSlot;
struct SpecialSlot;

// Immutable; any number of threads may use one.
class Vocabulary {
 public:
  // Builds the tables. Fails with EBADMSG for duplicate tokens, arrays whose lengths disagree and ids out of range, and
  // with E2BIG for more than 4 GiB of text.
  static Vocabulary build(const VocabularySource& source);

  // Attaches to an image made by build(); `image` must be 8-byte aligned and outlive the Vocabulary. Fails with
  // EBADMSG.
  static Vocabulary view(std::span<const std::byte> image);

  Vocabulary(Vocabulary&&) noexcept = default;
  Vocabulary& operator=(Vocabulary&&) noexcept = default;

  // The bytes to store in a prepared index; they belong to the Vocabulary (or to whoever owns the viewed image).
  std::span<const std::byte> image() const { return image_; }

  uint32_t size() const { return size_; }
  TokenizerKind kind() const { return kind_; }
  PreTokenizer pre_tokenizer() const { return pre_tokenizer_; }
  bool ignore_merges() const { return ignore_merges_; }
  const SpecialTokens& special() const { return special_; }
  uint32_t longest_token() const { return longest_token_; }  // in bytes

  // Of a token: fails with EINVAL for an id that is not in the vocabulary.
  std::string_view text(TokenId id) const;  // as the model file writes it
  TokenType type(TokenId id) const;
  float score(TokenId id) const;
  bool ends_generation(TokenId id) const;  // end of text, of a turn or of a message

  // The token written exactly so in the model file; no_token when there is none.
  TokenId find(std::string_view text) const;

  // The token for a byte that no other token covers; no_token when there is none.
  TokenId byte_token(uint8_t byte) const;

  // The merge of two neighbouring tokens (BPE kinds); result is no_token when they do not merge.
  struct Merge {
    uint32_t rank;
    TokenId result;
  };
  Merge find_merge(TokenId left, TokenId right) const;

  // The longest token with a text of its own (control, unknown, user-defined) that `text` begins with and that is at
  // most `limit` bytes long; no_token when there is none. Only user-defined ones unless `parse_special`.
  TokenId find_special_prefix(std::string_view text, size_t limit, bool parse_special) const;
  // The bytes that such tokens begin with.
  const ByteSet& special_first_bytes() const { return special_first_bytes_; }

  // The bytes that stand right before a space (U+2581) inside of a token, other spaces left out. No token reaches
  // across the place between any other byte and a space: a text may be cut there before it is tokenized.
  const ByteSet& bytes_before_spaces() const { return bytes_before_spaces_; }

 private:
  Vocabulary() = default;

  void require(TokenId id) const;
  TokenId checked(TokenId id) const;

  std::vector<std::byte> owned_;  // empty when the image is somebody else's
  std::span<const std::byte> image_;

  uint32_t size_ = 0;
  uint32_t longest_token_ = 0;
  TokenizerKind kind_ = TokenizerKind::spm;
  PreTokenizer pre_tokenizer_ = PreTokenizer::none;
  bool ignore_merges_ = false;
  SpecialTokens special_;
  ByteSet special_first_bytes_;
  ByteSet bytes_before_spaces_;

  std::span<const uint32_t> text_ends_;  // [size]: where each text ends in texts_
  std::span<const char> texts_;
  std::span<const uint8_t> attributes_;  // [size]: TokenType and flags
  std::span<const float> scores_;        // [size], or empty
  std::span<const TextSlot> text_slots_;
  std::span<const MergeSlot> merge_slots_;
  std::span<const SpecialSlot> special_slots_;  // sorted by text
  std::span<const TokenId> byte_tokens_;        // [256]
};

}  // namespace llmos::core
