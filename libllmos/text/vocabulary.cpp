// SPDX-License-Identifier: MIT
// Attaching to a vocabulary image, and looking things up in it. Whatever is read from the image is checked before it is
// used as an index: the image may come from anyone.
#include "text/vocabulary.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "system/error.hpp"
#include "text/hash.hpp"
#include "text/vocabulary_image.hpp"

namespace llmos::core {
namespace {

[[noreturn]] void corrupt(std::string_view what) {
  fail(EBADMSG, "vocabulary image: {}; make the prepared index again", what);
}

VocabularyHeader read_header(std::span<const std::byte> image) {
  VocabularyHeader header;
  if (image.size() < sizeof header) corrupt("shorter than its header");
  if (reinterpret_cast<uintptr_t>(image.data()) % 8 != 0) fail(EINVAL, "vocabulary image: not 8-byte aligned");
  std::memcpy(&header, image.data(), sizeof header);
  if (header.magic != VocabularyHeader::expected_magic) corrupt("wrong magic");
  if (header.version != VocabularyHeader::current_version) corrupt(fmt::format("unknown version {}", header.version));
  if (header.byte_order != VocabularyHeader::expected_byte_order) corrupt("other byte order");
  if (header.image_bytes != image.size())
    corrupt(fmt::format("{} bytes where its header says {}", image.size(), header.image_bytes));
  if (header_checksum(header) != header.checksum) corrupt("wrong checksum of the header");
  return header;
}

void check_header(const VocabularyHeader& header) {
  if (header.kind < TokenizerKind::spm || header.kind > TokenizerKind::char_bpe) corrupt("unknown tokenizer kind");
  if (static_cast<uint32_t>(header.pre_tokenizer) >= pre_tokenizer_count) corrupt("unknown pre-tokenizer");
  if (header.flags & ~uint32_t{all_vocabulary_flags}) corrupt("unknown flags");
  if (header.size > INT32_MAX) corrupt("too many tokens");
  for (const TokenId id : {header.bos, header.eos, header.eot, header.unknown, header.padding})
    if (id < no_token || id >= static_cast<TokenId>(header.size)) corrupt("a special token id out of range");
}

// The table as a view of the image, once it is known to lie inside of it.
template <typename T>
std::span<const T> view_table(std::span<const std::byte> image, const ImageTable& table, std::string_view name) {
  const bool inside = table.offset >= sizeof(VocabularyHeader) && table.offset <= image.size() &&
                      table.count <= (image.size() - table.offset) / sizeof(T);
  if (!inside || table.offset % 8 != 0) corrupt(fmt::format("table {} lies outside of it", name));
  return {reinterpret_cast<const T*>(image.data() + table.offset), table.count};
}

template <typename T>
std::span<const T> view_table(std::span<const std::byte> image, const ImageTable& table, std::string_view name,
                              uint64_t count) {
  if (table.count != count) corrupt(fmt::format("table {} has {} entries, not {}", name, table.count, count));
  return view_table<T>(image, table, name);
}

}  // namespace

uint64_t header_checksum(VocabularyHeader header) {
  header.checksum = 0;
  return hash_text({reinterpret_cast<const char*>(&header), sizeof header});
}

Vocabulary Vocabulary::view(std::span<const std::byte> image) {
  const VocabularyHeader header = read_header(image);
  check_header(header);
  Vocabulary v;
  v.image_ = image;
  v.size_ = header.size;
  v.longest_token_ = header.longest_token;
  v.kind_ = header.kind;
  v.pre_tokenizer_ = header.pre_tokenizer;
  v.ignore_merges_ = header.flags & ignore_merges_flag;
  v.special_first_bytes_ = header.special_first_bytes;
  v.bytes_before_spaces_ = header.bytes_before_spaces;
  v.special_ = {.bos = header.bos,
                .eos = header.eos,
                .eot = header.eot,
                .unknown = header.unknown,
                .padding = header.padding,
                .add_bos = (header.flags & add_bos_flag) != 0,
                .add_eos = (header.flags & add_eos_flag) != 0,
                .add_space_prefix = (header.flags & add_space_prefix_flag) != 0};
  if (v.special_.add_bos && v.special_.bos == no_token) corrupt("adds a BOS it does not have");
  if (v.special_.add_eos && v.special_.eos == no_token) corrupt("adds an EOS it does not have");

  v.text_ends_ = view_table<uint32_t>(image, header.text_ends, "text_ends", header.size);
  v.texts_ = view_table<char>(image, header.texts, "texts");
  v.attributes_ = view_table<uint8_t>(image, header.attributes, "attributes", header.size);
  v.scores_ = view_table<float>(image, header.scores, "scores", header.scores.count == 0 ? 0 : header.size);
  v.text_slots_ = view_table<TextSlot>(image, header.text_slots, "text_slots");
  v.merge_slots_ = view_table<MergeSlot>(image, header.merge_slots, "merge_slots");
  v.special_slots_ = view_table<SpecialSlot>(image, header.special_slots, "special_slots");
  v.byte_tokens_ = view_table<TokenId>(image, header.byte_tokens, "byte_tokens", 256);
  return v;
}

void Vocabulary::require(TokenId id) const {
  if (id < 0 || static_cast<uint32_t>(id) >= size_)
    fail(EINVAL, "token {} is not in the vocabulary, which has {} tokens", id, size_);
}

// An id that was read from the image.
TokenId Vocabulary::checked(TokenId id) const {
  if (id < no_token || id >= static_cast<TokenId>(size_)) corrupt("a table holds a token id out of range");
  return id;
}

std::string_view Vocabulary::text(TokenId id) const {
  require(id);
  const uint32_t begin = id == 0 ? 0 : text_ends_[id - 1];
  const uint32_t end = text_ends_[id];
  if (begin > end || end > texts_.size()) corrupt("a token's text lies outside of it");
  return {texts_.data() + begin, end - begin};
}

TokenType Vocabulary::type(TokenId id) const {
  require(id);
  return static_cast<TokenType>(attributes_[id] & token_type_mask);
}

bool Vocabulary::ends_generation(TokenId id) const {
  require(id);
  return attributes_[id] & ends_generation_bit;
}

float Vocabulary::score(TokenId id) const {
  require(id);
  return scores_.empty() ? 0.0f : scores_[id];
}

TokenId Vocabulary::find(std::string_view wanted) const {
  if (text_slots_.empty()) return no_token;
  const uint64_t hash = hash_text(wanted);
  uint64_t index = first_slot(hash, text_slots_.size());
  for (uint32_t probe = 0; probe < longest_probe; ++probe) {
    const TextSlot slot = text_slots_[index];
    if (slot.token == no_token) return no_token;
    if (slot.tag == slot_tag(hash) && text(checked(slot.token)) == wanted) return slot.token;
    if (++index == text_slots_.size()) index = 0;
  }
  return no_token;
}

TokenId Vocabulary::byte_token(uint8_t byte) const { return checked(byte_tokens_[byte]); }

Vocabulary::Merge Vocabulary::find_merge(TokenId left, TokenId right) const {
  constexpr Merge none{0, no_token};
  if (merge_slots_.empty()) return none;
  const uint64_t hash = hash_pair(static_cast<uint32_t>(left), static_cast<uint32_t>(right));
  uint64_t index = first_slot(hash, merge_slots_.size());
  for (uint32_t probe = 0; probe < longest_probe; ++probe) {
    const MergeSlot slot = merge_slots_[index];
    if (slot.left == no_token) return none;
    if (slot.left == left && slot.right == right) return {slot.rank, checked(slot.result)};
    if (++index == merge_slots_.size()) index = 0;
  }
  return none;
}

// A special token that is a prefix of `text` sorts before it, and everything between the two begins with it as well: so
// from the last special token not after `text`, the way through the parents passes all of its prefixes.
TokenId Vocabulary::find_special_prefix(std::string_view wanted, size_t limit, bool parse_special) const {
  const auto after = std::ranges::upper_bound(special_slots_, wanted, {},
                                              [&](const SpecialSlot& slot) { return text(checked(slot.token)); });
  if (after == special_slots_.begin()) return no_token;
  auto index = static_cast<uint32_t>(after - special_slots_.begin()) - 1;
  while (true) {
    const SpecialSlot slot = special_slots_[index];
    const std::string_view candidate = text(checked(slot.token));
    const bool allowed = parse_special || type(slot.token) == TokenType::user_defined;
    const bool fits = !candidate.empty() && candidate.size() <= limit;
    if (allowed && fits && wanted.starts_with(candidate)) return slot.token;
    if (slot.parent >= index) return no_token;  // the root of its tree
    index = slot.parent;
  }
}

}  // namespace llmos::core
