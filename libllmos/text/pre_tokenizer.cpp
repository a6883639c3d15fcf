// SPDX-License-Identifier: MIT
#include "text/pre_tokenizer.hpp"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include "text/unicode.hpp"

namespace llmos::core {
namespace {

struct Rune {
  uint32_t value;
  uint32_t offset;  // of its first byte
  CharacterClass is;
};

// A run of runes. Reading past its end gives a rune that is in no class, so that matchers need no bounds of their own.
class Runes {
 public:
  Runes(const Rune* begin, const Rune* end) : begin_(begin), end_(end) {}

  size_t size() const { return static_cast<size_t>(end_ - begin_); }
  Runes from(size_t index) const { return {begin_ + index, end_}; }
  uint32_t value(size_t index) const { return index < size() ? begin_[index].value : nothing; }
  bool ends(size_t index) const { return index >= size(); }

  bool letter(size_t index) const { return index < size() && is_letter(begin_[index].is); }
  bool space(size_t index) const { return is(index, CharacterClass::space); }
  bool number(size_t index) const { return is(index, CharacterClass::number); }
  bool punctuation(size_t index) const { return is(index, CharacterClass::punctuation); }
  bool symbol(size_t index) const { return is(index, CharacterClass::symbol); }
  bool mark(size_t index) const { return is(index, CharacterClass::mark); }
  bool newline(size_t index) const { return value(index) == '\r' || value(index) == '\n'; }
  // [^\s\p{L}\p{N}]
  bool sign(size_t index) const { return !ends(index) && !space(index) && !letter(index) && !number(index); }
  bool is(size_t index, CharacterClass wanted) const { return index < size() && begin_[index].is == wanted; }

 private:
  static constexpr uint32_t nothing = 0xfffffffe;  // neither a code point nor not_utf8
  const Rune* begin_;
  const Rune* end_;
};

// Index of the first rune from `index` on for which `in` does not hold.
template <typename In>
size_t run(const Runes& text, size_t index, In in) {
  while (in(text, index)) ++index;
  return index;
}

constexpr auto letters = [](const Runes& text, size_t index) { return text.letter(index); };
constexpr auto numbers = [](const Runes& text, size_t index) { return text.number(index); };
constexpr auto spaces = [](const Runes& text, size_t index) { return text.space(index); };
constexpr auto signs = [](const Runes& text, size_t index) { return text.sign(index); };
constexpr auto newlines = [](const Runes& text, size_t index) { return text.newline(index); };
constexpr auto newlines_and_slashes = [](const Runes& text, size_t index) {
  return text.newline(index) || text.value(index) == '/';
};

// Matchers: how many runes an expression matches at the beginning of a text; 0 when it does not match there.

// 's|'t|'re|'ve|'m|'ll|'d, in either case where `fold` is set.
size_t match_contraction(const Runes& text, bool fold) {
  if (text.value(0) != '\'') return 0;
  const auto lower = [&](size_t index) {
    const uint32_t value = text.value(index);
    return fold && value >= 'A' && value <= 'Z' ? value + ('a' - 'A') : value;
  };
  const uint32_t first = lower(1), second = lower(2);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  const bool two =
      (first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l');
  return two ? 3 : 0;
}

// \s+(?!\S)|\s+ : the white space before a word, less the last of it.
size_t match_spaces(const Runes& text) {
  const size_t end = run(text, 0, spaces);
  return end > 1 && !text.ends(end) ? end - 1 : end;
}

// \s*[\r\n]+|\s+(?!\S)|\s+
size_t match_lines_or_spaces(const Runes& text) {
  size_t last_newline = 0;
  for (size_t index = 0; text.space(index); ++index)
    if (text.newline(index)) last_newline = index + 1;
  return last_newline > 0 ? last_newline : match_spaces(text);
}

//  ?[^\s\p{L}\p{N}]+ and then what `tail` allows
template <typename Tail>
size_t match_signs(const Runes& text, Tail tail) {
  const size_t begin = text.value(0) == ' ' ? 1 : 0;
  const size_t end = run(text, begin, signs);
  return end > begin ? run(text, end, tail) : 0;
}

// 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
size_t match_gpt2(const Runes& text) {
  if (const size_t end = match_contraction(text, false)) return end;
  const size_t begin = text.value(0) == ' ' ? 1 : 0;
  if (text.letter(begin)) return run(text, begin, letters);
  if (text.number(begin)) return run(text, begin, numbers);
  if (text.sign(begin)) return run(text, begin, signs);
  return match_spaces(text);
}

// \p{N}{1,most}
template <size_t most>
size_t match_digits(const Runes& text) {
  size_t end = 0;
  while (end < most && text.number(end)) ++end;
  return end;
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|...
template <size_t digits>
size_t match_llama3(const Runes& text) {
  if (const size_t end = match_contraction(text, true)) return end;
  const bool prefix = !text.newline(0) && !text.number(0);
  if (text.letter(0) || (prefix && text.letter(1))) return run(text, 1, letters);
  if (const size_t end = match_digits<digits>(text)) return end;
  if (const size_t end = match_signs(text, newlines)) return end;
  return match_lines_or_spaces(text);
}

// A word that is cut where a lower-case letter is followed by an upper-case one. Letters without case and marks count
// as both:  U*L+ where `lower_end` is set, U+L* otherwise.
bool upper_half(const Runes& text, size_t index) {
  return text.letter(index) ? !text.is(index, CharacterClass::lower) : text.mark(index);
}
bool lower_half(const Runes& text, size_t index) {
  return text.letter(index) ? !text.is(index, CharacterClass::upper) : text.mark(index);
}
size_t match_cased(const Runes& text, size_t begin, bool lower_end) {
  size_t upper_end = run(text, begin, upper_half);
  const size_t end = run(text, upper_end, lower_half);
  if (!lower_end) return upper_end > begin ? end : 0;
  if (end > upper_end) return end;
  while (upper_end > begin && !lower_half(text, upper_end - 1)) --upper_end;  // give back until L+ has one
  return upper_end > begin ? upper_end : 0;
}

// [^\r\n\p{L}\p{N}]?U*L+|[^\r\n\p{L}\p{N}]?U+L*
size_t match_cased_word(const Runes& text) {
  const bool prefix = !text.ends(0) && !text.newline(0) && !text.letter(0) && !text.number(0);
  for (const bool lower_end : {true, false}) {
    if (prefix)
      if (const size_t end = match_cased(text, 1, lower_end)) return end;
    if (const size_t end = match_cased(text, 0, lower_end)) return end;
  }
  return 0;
}

// The word|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
size_t match_tekken(const Runes& text) {
  if (const size_t end = match_cased_word(text)) return end;
  if (text.number(0)) return 1;
  if (const size_t end = match_signs(text, newlines_and_slashes)) return end;
  return match_lines_or_spaces(text);
}

// The word and a contraction|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
size_t match_gpt4o(const Runes& text) {
  if (const size_t end = match_cased_word(text)) return end + match_contraction(text.from(end), true);
  if (const size_t end = match_digits<3>(text)) return end;
  if (const size_t end = match_signs(text, newlines_and_slashes)) return end;
  return match_lines_or_spaces(text);
}

struct Range {
  uint32_t first, last;
};

template <size_t count>
bool in_ranges(const Range (&ranges)[count], uint32_t value) {
  const Range* after = std::ranges::upper_bound(ranges, value, {}, &Range::first);
  return after != ranges && value <= std::prev(after)->last;
}

// The letters with case that deepseek-llm lists.
constexpr Range deepseek_letters[] = {
    {0x41, 0x5a},       {0x61, 0x7a},       {0xb5, 0xb5},       {0xc0, 0xd6},       {0xd8, 0xf6},
    {0xf8, 0x1ba},      {0x1bc, 0x1bf},     {0x1c4, 0x293},     {0x295, 0x2af},     {0x370, 0x373},
    {0x376, 0x377},     {0x37b, 0x37d},     {0x37f, 0x37f},     {0x386, 0x386},     {0x388, 0x38a},
    {0x38c, 0x38c},     {0x38e, 0x3a1},     {0x3a3, 0x3f5},     {0x3f7, 0x481},     {0x48a, 0x52f},
    {0x531, 0x556},     {0x10a0, 0x10c5},   {0x13a0, 0x13f5},   {0x13f8, 0x13fd},   {0x1c90, 0x1cba},
    {0x1cbd, 0x1cbf},   {0x1d00, 0x1d2b},   {0x1d6b, 0x1d77},   {0x1d79, 0x1d9a},   {0x1e00, 0x1f15},
    {0x1f18, 0x1f1d},   {0x1f20, 0x1f45},   {0x1f48, 0x1f4d},   {0x1f50, 0x1f57},   {0x1f59, 0x1f59},
    {0x1f5b, 0x1f5b},   {0x1f5d, 0x1f5d},   {0x1f5f, 0x1f7d},   {0x1f80, 0x1fb4},   {0x1fb6, 0x1fbc},
    {0x1fbe, 0x1fbe},   {0x1fc2, 0x1fc4},   {0x1fc6, 0x1fcc},   {0x1fd0, 0x1fd3},   {0x1fd6, 0x1fdb},
    {0x1fe0, 0x1fec},   {0x1ff2, 0x1ff4},   {0x1ff6, 0x1ffc},   {0x2102, 0x2102},   {0x2107, 0x2107},
    {0x210a, 0x2113},   {0x2115, 0x2115},   {0x2119, 0x211d},   {0x2124, 0x2124},   {0x2126, 0x2126},
    {0x2128, 0x2128},   {0x212a, 0x212d},   {0x212f, 0x2134},   {0x2139, 0x2139},   {0x213c, 0x213f},
    {0x2145, 0x2149},   {0x214e, 0x214e},   {0x2183, 0x2184},   {0x2c00, 0x2c7b},   {0x2c7e, 0x2ce4},
    {0x2ceb, 0x2cee},   {0x2cf2, 0x2cf3},   {0xa640, 0xa66d},   {0xa680, 0xa69b},   {0xa722, 0xa76f},
    {0xa771, 0xa787},   {0xa78b, 0xa78e},   {0xab70, 0xabbf},   {0xfb00, 0xfb06},   {0xfb13, 0xfb17},
    {0xff21, 0xff3a},   {0xff41, 0xff5a},   {0x10400, 0x1044f}, {0x104b0, 0x104d3}, {0x104d8, 0x104fb},
    {0x10c80, 0x10cb2}, {0x10cc0, 0x10cf2}, {0x118a0, 0x118df}, {0x1e900, 0x1e943},
};
constexpr Range deepseek_signs[] = {{0x21, 0x2f},     {0x3a, 0x7e},     {0x2018, 0x201f},
                                    {0x3000, 0x3002}, {0xff01, 0xff0f}, {0xff1a, 0xff5e}};
constexpr Range deepseek_ideographs[] = {{0x800, 0x9fa5}, {0xac00, 0xd7ff}};
constexpr Range deepseek3_ideographs[] = {{0x3040, 0x30ff}, {0x4e00, 0x9fa5}};
constexpr Range ascii_signs[] = {{0x21, 0x2f}, {0x3a, 0x40}, {0x5b, 0x60}, {0x7b, 0x7e}};

size_t match_newline(const Runes& text) { return text.newline(0) ? 1 : 0; }
size_t match_numbers(const Runes& text) { return run(text, 0, numbers); }

// \s?[in]+
template <typename In>
size_t match_after_space(const Runes& text, In in) {
  const size_t begin = text.space(0) ? 1 : 0;
  const size_t end = run(text, begin, in);
  return end > begin ? end : 0;
}

template <const auto& ranges>
constexpr auto within = [](const Runes& text, size_t index) { return in_ranges(ranges, text.value(index)); };

size_t match_deepseek_letters(const Runes& text) { return match_after_space(text, within<deepseek_letters>); }
size_t match_deepseek_signs(const Runes& text) { return match_after_space(text, within<deepseek_signs>); }
size_t match_deepseek_ideographs(const Runes& text) { return run(text, 0, within<deepseek_ideographs>); }
size_t match_deepseek3_ideographs(const Runes& text) { return run(text, 0, within<deepseek3_ideographs>); }
size_t match_spaced_letters(const Runes& text) { return match_after_space(text, letters); }
size_t match_spaced_punctuation(const Runes& text) {
  return match_after_space(text, [](const Runes& runes, size_t index) { return runes.punctuation(index); });
}

// [ASCII sign][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
size_t match_deepseek3(const Runes& text) {
  constexpr auto ascii_letters = [](const Runes& runes, size_t index) {
    const uint32_t value = runes.value(index) | 0x20;
    return value >= 'a' && value <= 'z';
  };
  constexpr auto letters_and_marks = [](const Runes& runes, size_t index) {
    return runes.letter(index) || runes.mark(index);
  };
  constexpr auto signs_and_symbols = [](const Runes& runes, size_t index) {
    return runes.punctuation(index) || runes.symbol(index);
  };
  if (in_ranges(ascii_signs, text.value(0)) && ascii_letters(text, 1)) return run(text, 1, ascii_letters);
  const bool prefix = !text.newline(0) && !signs_and_symbols(text, 0);
  if (letters_and_marks(text, 0) || (prefix && letters_and_marks(text, 1))) return run(text, 1, letters_and_marks);
  const size_t begin = text.value(0) == ' ' ? 1 : 0;
  const size_t end = run(text, begin, signs_and_symbols);
  if (end > begin) return run(text, end, newlines);
  return match_lines_or_spaces(text);
}

// [\p{P}$+<=>^~|]+
size_t match_unnamed_signs(const Runes& text) {
  return run(text, 0, [](const Runes& runes, size_t index) {
    switch (runes.value(index)) {
      case '$':
      case '+':
      case '<':
      case '=':
      case '>':
      case '^':
      case '~':
      case '|':
        return true;
      default:
        return runes.punctuation(index);
    }
  });
}

// [0-9][0-9][0-9]
size_t match_three_digits(const Runes& text) {
  const auto digit = [&](size_t index) { return text.value(index) >= '0' && text.value(index) <= '9'; };
  return digit(0) && digit(1) && digit(2) ? 3 : 0;
}

// A text and the places where it is cut. Expressions are applied one after another: each cuts its matches out of the
// pieces that the ones before left.
class Cutter {
 public:
  explicit Cutter(std::string_view text) : text_(text) {
    runes_.reserve(text.size() + 1);
    for (uint32_t offset = 0; offset < text.size();) {
      const CodePoint code_point = decode_code_point(text.substr(offset));
      runes_.push_back({code_point.value, offset, character_class(code_point.value)});
      offset += code_point.bytes;
    }
    if (!runes_.empty()) ends_.push_back(runes_.size());
  }

  template <typename Match>
  void cut(Match match) {
    for_each_piece([&](size_t begin, size_t end) {
      size_t kept = begin;  // where the text that nothing matched begins
      for (size_t at = begin; at < end;) {
        const size_t length = match(piece(at, end));
        if (length == 0) {
          ++at;
          continue;
        }
        if (at > kept) next_.push_back(at);
        kept = at += length;
        next_.push_back(at);
      }
      if (kept < end) next_.push_back(end);
    });
  }

  // \s+$
  void cut_trailing_spaces() {
    for_each_piece([&](size_t begin, size_t end) {
      size_t spaces = end;
      while (spaces > begin && runes_[spaces - 1].is == CharacterClass::space) --spaces;
      if (spaces > begin && spaces < end) next_.push_back(spaces);
      next_.push_back(end);
    });
  }

  void append_words(std::vector<std::string_view>& words) const {
    size_t begin = 0;
    for (const size_t end : ends_) {
      const uint32_t offset = runes_[begin].offset;
      const size_t next = end < runes_.size() ? runes_[end].offset : text_.size();
      words.push_back(text_.substr(offset, next - offset));
      begin = end;
    }
  }

 private:
  Runes piece(size_t begin, size_t end) const { return {runes_.data() + begin, runes_.data() + end}; }

  template <typename Use>
  void for_each_piece(Use use) {
    next_.clear();
    size_t begin = 0;
    for (const size_t end : ends_) {
      use(begin, end);
      begin = end;
    }
    ends_.swap(next_);
  }

  std::string_view text_;
  std::vector<Rune> runes_;
  std::vector<size_t> ends_, next_;  // of the pieces, in runes
};

}  // namespace

void split_words(PreTokenizer how, std::string_view text, std::vector<std::string_view>& words) {
  Cutter cutter(text);
  switch (how) {
    case PreTokenizer::none:
      break;
    case PreTokenizer::unnamed:
      cutter.cut(match_unnamed_signs);
      cutter.cut(match_gpt2);
      cutter.cut(match_numbers);
      cutter.cut(match_three_digits);
      break;
    case PreTokenizer::gpt2:
      cutter.cut(match_gpt2);
      break;
    case PreTokenizer::llama3:
      cutter.cut(match_llama3<3>);
      break;
    case PreTokenizer::qwen2:
      cutter.cut(match_llama3<1>);
      break;
    case PreTokenizer::deepseek_llm:
      cutter.cut(match_newline);
      cutter.cut(match_deepseek_letters);
      cutter.cut(match_deepseek_signs);
      cutter.cut_trailing_spaces();
      cutter.cut(match_deepseek_ideographs);
      cutter.cut(match_numbers);
      break;
    case PreTokenizer::deepseek_coder:
      cutter.cut(match_newline);
      cutter.cut(match_spaced_letters);
      cutter.cut(match_spaced_punctuation);
      cutter.cut(match_deepseek_ideographs);
      cutter.cut(match_digits<1>);
      break;
    case PreTokenizer::deepseek_v3:
      cutter.cut(match_digits<3>);
      cutter.cut(match_deepseek3_ideographs);
      cutter.cut(match_deepseek3);
      break;
    case PreTokenizer::starcoder:
      cutter.cut(match_digits<1>);
      cutter.cut(match_gpt2);
      break;
    case PreTokenizer::tekken:
      cutter.cut(match_tekken);
      break;
    case PreTokenizer::gpt4o:
      cutter.cut(match_gpt4o);
      break;
  }
  cutter.append_words(words);
}

}  // namespace llmos::core
