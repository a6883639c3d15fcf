// SPDX-License-Identifier: MIT
#include "format/gguf.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <numeric>
#include <string>
#include <utility>

#include "system/error.hpp"
#include "text/quote.hpp"

namespace llmos::core {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF numbers are read as they stand in memory");

constexpr std::string_view magic = "GGUF";
constexpr uint64_t longest_key = 65535;  // both limits are the specification's
constexpr uint64_t longest_tensor_name = 64;
constexpr uint32_t most_dimensions = 4;
constexpr uint32_t tensor_type_end = 4096;  // far above any ggml type number

struct GgufTypeInfo {
  std::string_view name;
  uint64_t bytes;  // 0 for strings and arrays
};

constexpr std::array<GgufTypeInfo, 13> type_table{{
    {"u8", 1},
    {"i8", 1},
    {"u16", 2},
    {"i16", 2},
    {"u32", 4},
    {"i32", 4},
    {"f32", 4},
    {"bool", 1},
    {"string", 0},
    {"array", 0},
    {"u64", 8},
    {"i64", 8},
    {"f64", 8},
}};

const GgufTypeInfo& type_info(GgufType type) { return type_table[static_cast<uint32_t>(type)]; }

template <typename T>
T load(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

// Calls `use` with the number of that type at `data`; false when the type is no number.
template <typename Use>
bool with_number(GgufType type, const std::byte* data, Use use) {
  switch (type) {
    case GgufType::u8:
      return use(load<uint8_t>(data)), true;
    case GgufType::i8:
      return use(load<int8_t>(data)), true;
    case GgufType::u16:
      return use(load<uint16_t>(data)), true;
    case GgufType::i16:
      return use(load<int16_t>(data)), true;
    case GgufType::u32:
      return use(load<uint32_t>(data)), true;
    case GgufType::i32:
      return use(load<int32_t>(data)), true;
    case GgufType::u64:
      return use(load<uint64_t>(data)), true;
    case GgufType::i64:
      return use(load<int64_t>(data)), true;
    case GgufType::f32:
      return use(load<float>(data)), true;
    case GgufType::f64:
      return use(load<double>(data)), true;
    default:
      return false;
  }
}

template <typename T>
constexpr std::string_view wanted_name() {
  if constexpr (std::is_same_v<T, bool>) return "bool";
  if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double>) return "a float";
  if constexpr (std::is_same_v<T, std::string_view>) return "a string";
  if constexpr (std::is_same_v<T, GgufArray>) return "an array";
  return "an integer";
}

template <typename T>
T number_as(const GgufValue& value) {
  std::optional<T> result;
  with_number(value.type, value.data, [&](auto number) {
    using Number = decltype(number);
    if constexpr (std::is_floating_point_v<T> && std::is_floating_point_v<Number>) {
      result = static_cast<T>(number);
    } else if constexpr (std::is_integral_v<T> && std::is_integral_v<Number>) {
      if (!std::in_range<T>(number))
        fail(EINVAL, "GGUF: key {} is {}, which does not fit {} bits{}", quote(value.key), number, 8 * sizeof(T),
             std::is_signed_v<T> ? " with a sign" : "");
      result = static_cast<T>(number);
    }
  });
  if (!result)
    fail(EINVAL, "GGUF: key {} is of type {} where {} is wanted", quote(value.key), gguf_type_name(value.type),
         wanted_name<T>());
  return *result;
}

template <typename T>
T value_as(const GgufValue& value) {
  const auto require = [&](GgufType type) {
    if (value.type != type)
      fail(EINVAL, "GGUF: key {} is of type {} where {} is wanted", quote(value.key), gguf_type_name(value.type),
           wanted_name<T>());
  };
  if constexpr (std::is_same_v<T, bool>) {
    require(GgufType::boolean);
    return load<uint8_t>(value.data) != 0;
  } else if constexpr (std::is_same_v<T, std::string_view>) {
    require(GgufType::string);
    return {reinterpret_cast<const char*>(value.data), value.size};
  } else if constexpr (std::is_same_v<T, GgufArray>) {
    require(GgufType::array);
    return {value.key, value.element, value.size, value.data};
  } else {
    return number_as<T>(value);
  }
}

// The indices of `entries`, sorted by name; fails when two names are equal.
template <typename Entry, typename Name>
std::vector<uint32_t> sorted_by_name(const std::vector<Entry>& entries, Name name, std::string_view what) {
  std::vector<uint32_t> order(entries.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::sort(order, {}, [&](uint32_t index) { return name(entries[index]); });
  const auto twice = std::ranges::adjacent_find(order, {}, [&](uint32_t index) { return name(entries[index]); });
  if (twice != order.end())
    fail(EBADMSG, "GGUF: {} {} appears twice, as number {} and number {}", what, quote(name(entries[*twice])), *twice,
         *std::next(twice));
  return order;
}

template <typename Entry, typename Name>
const Entry* find_by_name(const std::vector<Entry>& entries, const std::vector<uint32_t>& order,
                          std::string_view wanted, Name name) {
  const auto found = std::ranges::lower_bound(order, wanted, {}, [&](uint32_t index) { return name(entries[index]); });
  if (found == order.end() || name(entries[*found]) != wanted) return nullptr;
  return &entries[*found];
}

constexpr auto key_of = [](const GgufValue& value) { return value.key; };
constexpr auto name_of = [](const GgufTensor& tensor) { return tensor.name; };

}  // namespace

std::string_view gguf_type_name(GgufType type) { return type_info(type).name; }

// Walks the header from front to back; `position_` never passes the end of the file.
class Gguf::Parser {
 public:
  // `header` is what is parsed; it is the file itself unless the header was copied out of it.
  Parser(Gguf& out, std::span<const std::byte> header)
      : out_(out), file_(header), copied_(header.data() != out.file_.data()) {}

  void run() {
    read_magic();
    const auto tensors = read_count("number of tensors", 4 + 8 + 8 + 4 + 8);
    const auto pairs = read_count("number of metadata pairs", 8 + 1 + 4 + 1);
    read_metadata(pairs);
    refuse_split();
    read_alignment();
    read_tensors(tensors);
    locate_tensors();
    refuse_overlaps();
  }

 private:
  uint64_t left() const { return file_.size() - position_; }

  template <typename T>
  T read(std::string_view what) {
    if (left() < sizeof(T))
      fail(EBADMSG, "GGUF: {}{} at byte {} is cut off: the file ends at byte {}", what, context_, position_,
           file_.size());
    const T value = load<T>(file_.data() + position_);
    position_ += sizeof(T);
    return value;
  }

  // A count of things that take at least `least_bytes` each.
  uint64_t read_count(std::string_view what, uint64_t least_bytes) {
    const uint64_t at = position_;
    const auto count = read<uint64_t>(what);
    if (count > left() / least_bytes)
      fail(EBADMSG, "GGUF: {}{} at byte {} is {}, more than the {} bytes left in the file can hold", what, context_, at,
           count, left());
    return count;
  }

  std::string_view read_string(std::string_view what) {
    const uint64_t at = position_;
    const auto length = read<uint64_t>(what);
    if (length > left())
      fail(EBADMSG, "GGUF: length of {}{} at byte {} is {}, but the file has {} bytes left", what, context_, at, length,
           left());
    const std::string_view text(reinterpret_cast<const char*>(file_.data() + position_), length);
    position_ += length;
    return text;
  }

  std::string_view read_name(std::string_view what, uint64_t longest) {
    const uint64_t at = position_;
    const std::string_view name = read_string(what);
    if (name.empty() || name.size() > longest)
      fail(EBADMSG, "GGUF: {}{} at byte {} has {} bytes; 1 to {} are allowed", what, context_, at, name.size(),
           longest);
    return name;
  }

  void read_magic() {
    const auto magic_size = std::min<uint64_t>(magic.size(), file_.size());
    if (std::string_view(reinterpret_cast<const char*>(file_.data()), magic_size) != magic)
      fail(EBADMSG, "GGUF: the file does not begin with the magic \"GGUF\"; it is no GGUF file");
    position_ = magic.size();
    out_.version_ = read<uint32_t>("version");
    const bool swapped = out_.version_ != 0 && (out_.version_ & 0xffff) == 0;
    if (swapped) fail(ENOTSUP, "GGUF: the file is big-endian (version at byte 4); convert it to little-endian");
    if (out_.version_ != 2 && out_.version_ != 3)
      fail(ENOTSUP, "GGUF: version {} at byte 4 is not supported; versions 2 and 3 are", out_.version_);
  }

  void read_metadata(uint64_t pairs) {
    out_.metadata_.reserve(pairs);
    for (uint64_t index = 0; index < pairs; ++index) {
      context_ = fmt::format(" of metadata pair {}", index);
      const std::string_view key = read_name("key", longest_key);
      context_ = " of key " + quote(key);
      out_.metadata_.push_back(read_value(key));
    }
    context_.clear();
    out_.metadata_by_key_ = sorted_by_name(out_.metadata_, key_of, "key");
  }

  GgufType read_type(std::string_view what) {
    const uint64_t at = position_;
    const auto number = read<uint32_t>(what);
    if (number >= type_table.size())
      fail(EBADMSG, "GGUF: {}{} at byte {} is {}; the last known type is {}", what, context_, at, number,
           type_table.size() - 1);
    return static_cast<GgufType>(number);
  }

  GgufValue read_value(std::string_view key) {
    GgufValue value{key, read_type("value type"), {}, 1, nullptr, 0};
    if (value.type == GgufType::array) {
      read_array(value);
    } else if (value.type == GgufType::string) {
      const std::string_view text = read_string("value");
      value.data = reinterpret_cast<const std::byte*>(text.data());
      value.size = text.size();
    } else {
      value.data = file_.data() + position_;
      skip(type_info(value.type).bytes, "value");
      if (value.type == GgufType::boolean && load<uint8_t>(value.data) > 1)
        fail(EBADMSG, "GGUF: value{} at byte {} is a bool of {}; 0 or 1 are allowed", context_, position_ - 1,
             load<uint8_t>(value.data));
    }
    value.bytes = position_ - static_cast<uint64_t>(value.data - file_.data());
    return value;
  }

  void read_array(GgufValue& value) {
    const uint64_t at = position_;
    value.element = read_type("array element type");
    if (value.element == GgufType::array)
      fail(ENOTSUP, "GGUF: array element type{} at byte {} is an array again, which is not supported", context_, at);
    const bool strings = value.element == GgufType::string;
    const uint64_t element_bytes = strings ? sizeof(uint64_t) : type_info(value.element).bytes;
    value.size = read_count("array length", element_bytes);
    value.data = file_.data() + position_;
    if (!strings) return skip(value.size * element_bytes, "array");
    for (uint64_t index = 0; index < value.size; ++index) read_string("array element");
  }

  void skip(uint64_t bytes, std::string_view what) {
    if (bytes > left())
      fail(EBADMSG, "GGUF: {}{} at byte {} is cut off: the file ends at byte {}", what, context_, position_,
           file_.size());
    position_ += bytes;
  }

  void refuse_split() {
    const auto parts = out_.get_if<uint32_t>("split.count");
    if (parts.value_or(1) > 1)
      fail(ENOTSUP,
           "GGUF: the file is part {} of a model split into {} files, which is not supported; merge them first",
           out_.get_if<uint32_t>("split.no").value_or(0) + 1, *parts);
  }

  void read_alignment() {
    out_.alignment_ = out_.get_if<uint32_t>("general.alignment").value_or(32);
    if (!std::has_single_bit(out_.alignment_))
      fail(EBADMSG, "GGUF: key \"general.alignment\" is {}, which is no power of two", out_.alignment_);
  }

  void read_tensors(uint64_t count) {
    out_.tensors_.reserve(count);
    for (uint64_t index = 0; index < count; ++index) {
      context_ = fmt::format(" of tensor {}", index);
      const std::string_view name = read_name("name", longest_tensor_name);
      context_ = " of tensor " + quote(name);
      out_.tensors_.push_back(read_tensor(name));
    }
    context_.clear();
    out_.tensors_by_name_ = sorted_by_name(out_.tensors_, name_of, "tensor");
  }

  GgufTensor read_tensor(std::string_view name) {
    GgufTensor tensor{name, 0, 0, {1, 1, 1, 1}, 0, 0};
    const uint64_t dimensions_at = position_;
    tensor.dimensions = read<uint32_t>("number of dimensions");
    if (tensor.dimensions < 1 || tensor.dimensions > most_dimensions)
      fail(EBADMSG, "GGUF: number of dimensions{} at byte {} is {}; 1 to {} are allowed", context_, dimensions_at,
           tensor.dimensions, most_dimensions);
    for (uint32_t index = 0; index < tensor.dimensions; ++index) tensor.shape[index] = read_dimension(tensor, index);
    const uint64_t type_at = position_;
    tensor.type_number = read<uint32_t>("type");
    if (tensor.type_number >= tensor_type_end)
      fail(EBADMSG, "GGUF: type{} at byte {} is {}, which is no tensor type", context_, type_at, tensor.type_number);
    const uint64_t offset_at = position_;
    tensor.offset = read<uint64_t>("offset");
    if (tensor.offset % out_.alignment_ != 0)
      fail(EBADMSG, "GGUF: offset{} at byte {} is {}, which is no multiple of the alignment {}", context_, offset_at,
           tensor.offset, out_.alignment_);
    return tensor;
  }

  uint64_t read_dimension(const GgufTensor& tensor, uint32_t index) {
    const uint64_t at = position_;
    const auto length = read<uint64_t>("dimension");
    uint64_t elements = length;
    bool too_large = length == 0;
    for (uint32_t before = 0; before < index; ++before)
      too_large |= __builtin_mul_overflow(elements, tensor.shape[before], &elements);
    if (too_large || elements > INT64_MAX)
      fail(EBADMSG, "GGUF: dimension {}{} at byte {} is {}, which is zero or makes the tensor too large", index,
           context_, at, length);
    return length;
  }

  // Turns offsets into the data section into offsets into the file, and types and shapes into bytes.
  void locate_tensors() {
    out_.data_offset_ = copied_ ? copied_data_offset() : position_after_padding();
    const uint64_t data_bytes = out_.file_.size() - out_.data_offset_;
    for (GgufTensor& tensor : out_.tensors_) {
      tensor.bytes = bytes_of(tensor);
      if (tensor.offset > data_bytes || tensor.bytes > data_bytes - tensor.offset)
        fail(EBADMSG,
             "GGUF: tensor {} should be {} bytes at byte {} of the data section, which has {}; is the file whole?",
             quote(tensor.name), tensor.bytes, tensor.offset, data_bytes);
      tensor.offset += out_.data_offset_;
    }
  }

  uint64_t position_after_padding() const {
    const uint64_t padding = (out_.alignment_ - position_ % out_.alignment_) % out_.alignment_;
    if (padding > left() && !out_.tensors_.empty())
      fail(EBADMSG, "GGUF: the tensor data should begin after {} bytes of padding at byte {}, but the file ends at {}",
           padding, position_, file_.size());
    return position_ + std::min(padding, left());
  }

  uint64_t copied_data_offset() const {
    const auto offset = out_.get<uint64_t>(data_offset_key);
    if (offset > out_.file_.size() || (!out_.tensors_.empty() && offset % out_.alignment_ != 0))
      fail(EBADMSG, "GGUF: key {} is {}, which is no place for data in a file of {} bytes", quote(data_offset_key),
           offset, out_.file_.size());
    return offset;
  }

  static uint64_t bytes_of(const GgufTensor& tensor) {
    const auto type = tensor_type_from_number(tensor.type_number);
    if (!type) return 0;
    const TensorTypeInfo& info = tensor_type_info(*type);
    if (tensor.shape[0] % info.block_elements != 0)
      fail(EBADMSG, "GGUF: tensor {} has rows of {} elements, which are no whole blocks of {} ({} elements)",
           quote(tensor.name), tensor.shape[0], info.name, info.block_elements);
    const uint64_t elements = tensor.shape[0] * tensor.shape[1] * tensor.shape[2] * tensor.shape[3];
    uint64_t bytes;
    if (__builtin_mul_overflow(elements / info.block_elements, uint64_t{info.block_bytes}, &bytes))
      fail(EBADMSG, "GGUF: tensor {} is too large", quote(tensor.name));
    return bytes;
  }

  void refuse_overlaps() const {
    std::vector<const GgufTensor*> order;
    order.reserve(out_.tensors_.size());
    for (const GgufTensor& tensor : out_.tensors_) order.push_back(&tensor);
    std::ranges::sort(order, {}, [](const GgufTensor* tensor) { return std::pair(tensor->offset, tensor->bytes); });
    for (size_t index = 1; index < order.size(); ++index) {
      const GgufTensor &before = *order[index - 1], &after = *order[index];
      if (after.offset < before.offset + before.bytes)
        fail(EBADMSG, "GGUF: tensor {} at byte {} overlaps tensor {}, which ends at byte {}", quote(after.name),
             after.offset, quote(before.name), before.offset + before.bytes);
    }
  }

  Gguf& out_;
  std::span<const std::byte> file_;
  bool copied_;
  uint64_t position_ = 0;
  std::string context_;  // what the field being read belongs to, for messages
};

Gguf::Gguf(std::span<const std::byte> file) : file_(file) { Parser(*this, file).run(); }

Gguf::Gguf(std::span<const std::byte> header, std::span<const std::byte> file) : file_(file) {
  Parser(*this, header).run();
}

const GgufValue* Gguf::find(std::string_view key) const {
  return find_by_name(metadata_, metadata_by_key_, key, key_of);
}

const GgufTensor* Gguf::find_tensor(std::string_view name) const {
  return find_by_name(tensors_, tensors_by_name_, name, name_of);
}

template <typename T>
std::optional<T> Gguf::get_if(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  return value_as<T>(*value);
}

template <typename T>
T Gguf::get(std::string_view key) const {
  const GgufValue* value = find(key);
  if (!value) fail(ENOENT, "GGUF: the file has no key {}", quote(key));
  return value_as<T>(*value);
}

#define LLMOS_INSTANTIATE(T)                       \
  template T Gguf::get<T>(std::string_view) const; \
  template std::optional<T> Gguf::get_if<T>(std::string_view) const
LLMOS_INSTANTIATE(uint32_t);
LLMOS_INSTANTIATE(int32_t);
LLMOS_INSTANTIATE(uint64_t);
LLMOS_INSTANTIATE(int64_t);
LLMOS_INSTANTIATE(float);
LLMOS_INSTANTIATE(double);
LLMOS_INSTANTIATE(bool);
LLMOS_INSTANTIATE(std::string_view);
LLMOS_INSTANTIATE(GgufArray);
#undef LLMOS_INSTANTIATE

TensorView Gguf::tensor(std::string_view name) const {
  const GgufTensor* found = find_tensor(name);
  if (!found) fail(ENOENT, "GGUF: the file has no tensor {}", quote(name));
  return view(*found);
}

std::optional<TensorView> Gguf::tensor_if(std::string_view name) const {
  const GgufTensor* found = find_tensor(name);
  if (!found) return std::nullopt;
  return view(*found);
}

TensorView Gguf::view(const GgufTensor& tensor) const {
  const auto type = tensor_type_from_number(tensor.type_number);
  if (!type)
    fail(ENOTSUP, "GGUF: tensor {} has ggml type number {}, which llmos cannot compute with", quote(tensor.name),
         tensor.type_number);
  return {tensor.name, *type, tensor.shape, file_.data() + tensor.offset};
}

// Arrays.

void GgufArray::require_element(GgufType type) const {
  if (element_ != type)
    fail(EINVAL, "GGUF: key {} is an array of {} where {} is wanted", quote(key_), gguf_type_name(element_),
         gguf_type_name(type));
}

const std::byte* GgufArray::at(uint64_t index) const {
  if (index >= size_) fail(EINVAL, "GGUF: key {} has {} elements; number {} was asked for", quote(key_), size_, index);
  return data_ + index * type_info(element_).bytes;
}

int64_t GgufArray::integer(uint64_t index) const {
  const std::byte* data = at(index);
  if (element_ == GgufType::boolean) return load<uint8_t>(data) != 0;
  return number_as<int64_t>({key_, element_, {}, 1, data, 0});
}

double GgufArray::number(uint64_t index) const { return number_as<double>({key_, element_, {}, 1, at(index), 0}); }

template <typename T>
std::vector<T> GgufArray::copy() const {
  constexpr GgufType type = std::is_same_v<T, float>     ? GgufType::f32
                            : std::is_same_v<T, int32_t> ? GgufType::i32
                                                         : GgufType::u32;
  require_element(type);
  std::vector<T> result(size_);
  if (size_ > 0) std::memcpy(result.data(), data_, size_ * sizeof(T));
  return result;
}
template std::vector<float> GgufArray::copy() const;
template std::vector<int32_t> GgufArray::copy() const;
template std::vector<uint32_t> GgufArray::copy() const;

GgufArray::Strings GgufArray::strings() const {
  require_element(GgufType::string);
  return {StringIterator(data_, size_)};
}

}  // namespace llmos::core
