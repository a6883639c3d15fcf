// SPDX-License-Identifier: MIT
// Building a vocabulary image from what a model file says about its tokens.
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "system/error.hpp"
#include "text/byte_alphabet.hpp"
#include "text/hash.hpp"
#include "text/quote.hpp"
#include "text/vocabulary.hpp"
#include "text/vocabulary_image.hpp"

namespace llmos::core {
namespace {

// Tokens that end a turn, or generation altogether, whatever type the file gives them: many files give a wrong one. The
// first of turn_ends that a vocabulary has is its end of turn where the file names none.
constexpr std::string_view turn_ends[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<turn|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "<｜end▁of▁sentence｜>",
    "<end_of_utterance>",
};
constexpr std::string_view other_ends[] = {
    "<|eom_id|>",    "</s>",       "<eos>",       "[EOS]",        "<|return|>",       "<|call|>",
    "<|flush|>",     "<|calls|>",  "<|fim_pad|>", "<fim-pad>",    "<fim_pad>",        "<|fim_repo|>",
    "<|repo_name|>", "<fim-repo>", "<reponame>",  "<|file_sep|>", "<|tool_response>",
};

class Builder {
 public:
  explicit Builder(const VocabularySource& source) : source_(source), size_(source.tokens.size()) {}

  std::vector<std::byte> build() {
    check_source();
    classify_tokens();
    find_ends();
    sort_special();
    lay_out();
    write_texts();
    write_slots();
    write_special();
    find_bytes_before_spaces();
    write_header();
    const Vocabulary vocabulary = Vocabulary::view(image_);  // for look-ups
    write_byte_tokens(vocabulary);
    write_merges(vocabulary);
    return std::move(image_);
  }

 private:
  std::string_view text(uint32_t id) const { return source_.tokens[id]; }
  TokenType type(uint32_t id) const { return static_cast<TokenType>(attributes_[id] & token_type_mask); }

  void check_source() {
    if (size_ == 0 || size_ > INT32_MAX) fail(EBADMSG, "vocabulary: {} tokens; 1 to {} are possible", size_, INT32_MAX);
    const auto check_size = [&](size_t found, std::string_view what) {
      if (found != 0 && found != size_) fail(EBADMSG, "vocabulary: {} {} for {} tokens", found, what, size_);
    };
    check_size(source_.types.size(), "token types");
    check_size(source_.scores.size(), "scores");
    for (const float score : source_.scores)
      if (std::isnan(score)) fail(EBADMSG, "vocabulary: a score is NaN");
    const SpecialTokens& special = source_.special;
    check_id(special.bos, "BOS");
    check_id(special.eos, "EOS");
    check_id(special.eot, "end-of-turn");
    check_id(special.unknown, "unknown");
    check_id(special.padding, "padding");
    if (special.add_bos && special.bos == no_token) fail(EBADMSG, "vocabulary: adds a BOS token but has none");
    if (special.add_eos && special.eos == no_token) fail(EBADMSG, "vocabulary: adds an EOS token but has none");
  }

  void check_id(TokenId id, std::string_view what) const {
    if (id != no_token && (id < 0 || static_cast<size_t>(id) >= size_))
      fail(EBADMSG, "vocabulary: the {} token is {}, but there are {} tokens", what, id, size_);
  }

  void classify_tokens() {
    attributes_.resize(size_, static_cast<uint8_t>(TokenType::normal));
    for (size_t id = 0; id < source_.types.size(); ++id) {
      const auto type = static_cast<uint8_t>(source_.types[id]);
      attributes_[id] = type <= static_cast<uint8_t>(TokenType::byte) ? type : 0;
    }
  }

  // Marks the tokens that end generation, and makes them control tokens.
  void find_ends() {
    std::vector<std::pair<std::string_view, TokenId>> known;
    for (const std::string_view end : turn_ends) known.emplace_back(end, no_token);
    for (const std::string_view end : other_ends) known.emplace_back(end, no_token);
    for (uint32_t id = 0; id < size_; ++id) {
      if (text(id).empty() || !std::strchr("<[_", text(id)[0])) continue;
      if (text(id) == "</s>" && type(id) != TokenType::control) continue;  // Gemma has it as a tag of HTML
      const auto end = std::ranges::find(known, text(id), &std::pair<std::string_view, TokenId>::first);
      if (end != known.end()) end->second = static_cast<TokenId>(id);
    }
    for (const auto& [end, id] : known) {
      if (id == no_token) continue;
      attributes_[id] = static_cast<uint8_t>(TokenType::control);
      mark_end(id);
    }
    eot_ = source_.special.eot;
    for (size_t index = 0; index < std::size(turn_ends) && eot_ == no_token; ++index) eot_ = known[index].second;
    mark_end(source_.special.eos);
    mark_end(eot_);
  }

  void mark_end(TokenId id) {
    if (id != no_token) attributes_[id] |= ends_generation_bit;
  }

  void sort_special() {
    for (uint32_t id = 0; id < size_; ++id) {
      const bool special =
          type(id) == TokenType::control || type(id) == TokenType::unknown || type(id) == TokenType::user_defined;
      if (special && !text(id).empty()) special_.push_back(static_cast<TokenId>(id));
    }
    std::ranges::sort(special_, {}, [&](TokenId id) { return text(static_cast<uint32_t>(id)); });
  }

  // Where each table stands; then the image can be made in one piece.
  void lay_out() {
    uint64_t text_bytes = 0;
    for (const std::string_view token : source_.tokens) text_bytes += token.size();
    if (text_bytes > UINT32_MAX) fail(E2BIG, "vocabulary: {} bytes of text; 4 GiB are possible", text_bytes);
    const uint64_t merges = source_.kind == TokenizerKind::spm ? 0 : source_.merges.size();
    const uint64_t scores = source_.kind == TokenizerKind::spm ? source_.scores.size() : 0;
    place<uint32_t>(header_.text_ends, size_);
    place<char>(header_.texts, text_bytes);
    place<uint8_t>(header_.attributes, size_);
    place<float>(header_.scores, scores);
    place<TextSlot>(header_.text_slots, slots_for(size_));
    place<MergeSlot>(header_.merge_slots, merges == 0 ? 0 : slots_for(merges));
    place<SpecialSlot>(header_.special_slots, special_.size());
    place<TokenId>(header_.byte_tokens, 256);
    image_.resize(image_bytes_);
  }

  template <typename T>
  void place(ImageTable& table, uint64_t count) {
    table = {image_bytes_, count};
    image_bytes_ += (count * sizeof(T) + 7) / 8 * 8;
  }

  template <typename T>
  std::span<T> entries(const ImageTable& table) {
    return {reinterpret_cast<T*>(image_.data() + table.offset), table.count};
  }

  void write_texts() {
    const auto ends = entries<uint32_t>(header_.text_ends);
    char* out = entries<char>(header_.texts).data();
    uint32_t end = 0;
    for (uint32_t id = 0; id < size_; ++id) {
      std::ranges::copy(text(id), out + end);
      ends[id] = end += static_cast<uint32_t>(text(id).size());
      header_.longest_token = std::max(header_.longest_token, static_cast<uint32_t>(text(id).size()));
    }
    std::ranges::copy(attributes_, entries<uint8_t>(header_.attributes).begin());
    const auto scores = entries<float>(header_.scores);
    std::copy_n(source_.scores.begin(), scores.size(), scores.begin());
  }

  void write_slots() {
    const auto slots = entries<TextSlot>(header_.text_slots);
    std::ranges::fill(slots, TextSlot{0, no_token});
    for (uint32_t id = 0; id < size_; ++id) {
      if (text(id).empty()) continue;  // a token without a text is never found
      const uint64_t hash = hash_text(text(id));
      TextSlot& slot = free_slot(slots, hash, [&](const TextSlot& taken) {
        if (taken.tag == slot_tag(hash) && text(static_cast<uint32_t>(taken.token)) == text(id))
          fail(EBADMSG, "vocabulary: tokens {} and {} are both {}", taken.token, id, quote(text(id)));
        return false;
      });
      slot = {slot_tag(hash), static_cast<TokenId>(id)};
    }
  }

  // The first slot for `hash` that is empty, or that `matches`.
  template <typename Slot, typename Matches>
  static Slot& free_slot(std::span<Slot> slots, uint64_t hash, Matches matches) {
    uint64_t index = first_slot(hash, slots.size());
    for (uint32_t probe = 0; probe < longest_probe; ++probe) {
      if (is_empty(slots[index]) || matches(slots[index])) return slots[index];
      if (++index == slots.size()) index = 0;
    }
    fail(EBADMSG, "vocabulary: too many of its texts have one hash; it was made to be slow");
  }
  static bool is_empty(const TextSlot& slot) { return slot.token == no_token; }
  static bool is_empty(const MergeSlot& slot) { return slot.left == no_token; }

  // Special tokens are sorted by text, so those that one begins with are on the stack of open prefixes.
  void write_special() {
    const auto slots = entries<SpecialSlot>(header_.special_slots);
    std::vector<uint32_t> open;
    for (uint32_t index = 0; index < slots.size(); ++index) {
      const std::string_view own = text(static_cast<uint32_t>(special_[index]));
      while (!open.empty() && !own.starts_with(text(static_cast<uint32_t>(special_[open.back()])))) open.pop_back();
      slots[index] = {special_[index], open.empty() ? index : open.back()};
      open.push_back(index);
      header_.special_first_bytes.insert(own[0]);
    }
  }

  void write_header() {
    const SpecialTokens& special = source_.special;
    header_.magic = VocabularyHeader::expected_magic;
    header_.version = VocabularyHeader::current_version;
    header_.byte_order = VocabularyHeader::expected_byte_order;
    header_.image_bytes = image_bytes_;
    header_.kind = source_.kind;
    header_.pre_tokenizer = source_.pre_tokenizer;
    header_.flags = (special.add_bos ? add_bos_flag : 0u) | (special.add_eos ? add_eos_flag : 0u) |
                    (special.add_space_prefix ? add_space_prefix_flag : 0u) |
                    (source_.ignore_merges ? ignore_merges_flag : 0u);
    header_.size = static_cast<uint32_t>(size_);
    header_.bos = special.bos;
    header_.eos = special.eos;
    header_.eot = eot_;
    header_.unknown = special.unknown;
    header_.padding = special.padding;
    header_.checksum = header_checksum(header_);
    std::memcpy(image_.data(), &header_, sizeof header_);
  }

  // Notes the bytes that stand before a space inside of a token: only after these can a text not be cut.
  void find_bytes_before_spaces() {
    for (const std::string_view token : source_.tokens) {
      for (size_t at = token.find(escaped_space, 1); at != std::string_view::npos;
           at = token.find(escaped_space, at + 1))
        if (!token.substr(0, at).ends_with(escaped_space)) header_.bytes_before_spaces.insert(token[at - 1]);
    }
  }

  void write_byte_tokens(const Vocabulary& vocabulary) {
    const auto tokens = entries<TokenId>(header_.byte_tokens);
    for (uint32_t byte = 0; byte < 256; ++byte) {
      std::string name;
      if (source_.kind == TokenizerKind::byte_bpe)
        append_byte_character(static_cast<uint8_t>(byte), name);
      else
        name = fmt::format("<0x{:02X}>", byte);
      const char itself = static_cast<char>(byte);
      tokens[byte] = find_byte_token(vocabulary, name);
      if (tokens[byte] == no_token) tokens[byte] = find_byte_token(vocabulary, {&itself, 1});
    }
  }

  // Some vocabularies define the characters of bytes that no UTF-8 has as tokens that mean the characters themselves.
  TokenId find_byte_token(const Vocabulary& vocabulary, std::string_view name) const {
    const TokenId token = vocabulary.find(name);
    if (token == no_token) return no_token;
    const TokenType is = type(static_cast<uint32_t>(token));
    return is == TokenType::normal || is == TokenType::byte ? token : no_token;
  }

  // A merge that joins or makes something that is no token can never matter, and is left out.
  void write_merges(const Vocabulary& vocabulary) {
    const auto slots = entries<MergeSlot>(header_.merge_slots);
    if (slots.empty()) return;
    std::ranges::fill(slots, MergeSlot{no_token, no_token, 0, no_token});
    std::string joined;
    for (uint32_t rank = 0; rank < source_.merges.size(); ++rank) {
      const std::string_view merge = source_.merges[rank];
      const size_t gap = merge.find(' ', 1);
      if (gap == std::string_view::npos) continue;
      joined.assign(merge, 0, gap).append(merge, gap + 1);
      const TokenId left = vocabulary.find(merge.substr(0, gap));
      const TokenId right = vocabulary.find(merge.substr(gap + 1));
      const TokenId result = vocabulary.find(joined);
      if (left == no_token || right == no_token || result == no_token) continue;
      const uint64_t hash = hash_pair(static_cast<uint32_t>(left), static_cast<uint32_t>(right));
      MergeSlot& slot =
          free_slot(slots, hash, [&](const MergeSlot& taken) { return taken.left == left && taken.right == right; });
      if (is_empty(slot)) slot = {left, right, rank, result};
    }
  }

  const VocabularySource& source_;
  const size_t size_;
  std::vector<uint8_t> attributes_;
  TokenId eot_ = no_token;
  std::vector<TokenId> special_;  // sorted by text
  VocabularyHeader header_{};
  uint64_t image_bytes_ = sizeof(VocabularyHeader);
  std::vector<std::byte> image_;
};

}  // namespace

Vocabulary Vocabulary::build(const VocabularySource& source) {
  std::vector<std::byte> image = Builder(source).build();
  Vocabulary vocabulary = view(image);
  vocabulary.owned_ = std::move(image);
  return vocabulary;
}

}  // namespace llmos::core
