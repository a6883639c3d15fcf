// SPDX-License-Identifier: MIT
// A GGUF file (versions 2 and 3), read in place: every key, string, array and tensor is a view of the caller's bytes.
//
// Parsing walks the header once and checks every length, count, type, offset and alignment against the file before it
// is used, refuses duplicate names and overlapping tensors, and touches no weight. What it throws (EBADMSG for a broken
// file, ENOTSUP for a sound one that llmos cannot read) names the field and the byte it stands at.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "format/tensor.hpp"

namespace llmos::core {

// The value types of GGUF metadata, by their numbers in the file.
enum class GgufType : uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

std::string_view gguf_type_name(GgufType type);

// An array of metadata, still in the file. Numbers may stand at any alignment, so they are read by index.
class GgufArray {
 public:
  GgufArray() = default;
  GgufArray(std::string_view key, GgufType element, uint64_t size, const std::byte* data)
      : key_(key), element_(element), size_(size), data_(data) {}

  GgufType element() const { return element_; }
  uint64_t size() const { return size_; }

  // Element `index` of an array of integers or booleans (of floats), converted. Fails with EINVAL for other arrays and
  // indices past the end.
  int64_t integer(uint64_t index) const;
  double number(uint64_t index) const;

  // A copy of the bytes of an array whose elements are exactly T (int32_t, uint32_t, float); EINVAL for others.
  template <typename T>
  std::vector<T> copy() const;

  // The strings of an array of strings, one after another: for (std::string_view s : array.strings()).
  class StringIterator;
  struct Strings;
  Strings strings() const;

 private:
  const std::byte* at(uint64_t index) const;
  void require_element(GgufType type) const;

  std::string_view key_;  // for error messages
  GgufType element_ = GgufType::u8;
  uint64_t size_ = 0;
  const std::byte* data_ = nullptr;
};

class GgufArray::StringIterator {
 public:
  using value_type = std::string_view;
  using difference_type = std::ptrdiff_t;
  using iterator_category = std::input_iterator_tag;
  using pointer = void;
  using reference = std::string_view;

  StringIterator() = default;
  StringIterator(const std::byte* data, uint64_t left) : data_(data), left_(left) {}
  std::string_view operator*() const { return {reinterpret_cast<const char*>(data_) + sizeof(uint64_t), length()}; }
  StringIterator& operator++() {
    data_ += sizeof(uint64_t) + length();
    --left_;
    return *this;
  }
  StringIterator operator++(int) {
    StringIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const StringIterator& other) const { return left_ == other.left_; }

 private:
  uint64_t length() const {
    uint64_t value;
    std::memcpy(&value, data_, sizeof value);
    return value;
  }

  const std::byte* data_ = nullptr;
  uint64_t left_ = 0;  // strings from here to the end
};

struct GgufArray::Strings {
  StringIterator first;
  StringIterator begin() const { return first; }
  StringIterator end() const { return {}; }
};

// One pair of the metadata.
struct GgufValue {
  std::string_view key;
  GgufType type;
  GgufType element;       // of an array
  uint64_t size;          // elements of an array, bytes of a string, 1 for a number
  const std::byte* data;  // the number, the string's characters, or the array's elements, in the file
  uint64_t bytes;         // of data
};

// One entry of the tensor table. `type_number` may be one that llmos does not compute with; such tensors can be listed
// but not viewed, and their `bytes` is 0.
struct GgufTensor {
  std::string_view name;
  uint32_t type_number;
  uint32_t dimensions;
  std::array<uint64_t, 4> shape;  // shape[0] is the length of a row; unused dimensions are 1
  uint64_t offset;                // from the start of the file
  uint64_t bytes;
};

// In a copied header, the place in the file where the tensors' bytes begin.
inline constexpr std::string_view data_offset_key = "llmos.data_offset";

// Immutable after construction; any number of threads may read it. The bytes must outlive it and everything it
// returned.
class Gguf {
 public:
  explicit Gguf(std::span<const std::byte> file);

  // A file whose header was copied by copy_header(): metadata and names are views of `header`, tensors of `file`. Both
  // must outlive the Gguf. The header is checked like any other, against the file it is given.
  Gguf(std::span<const std::byte> header, std::span<const std::byte> file);

  uint32_t version() const { return version_; }
  uint64_t alignment() const { return alignment_; }
  uint64_t data_offset() const { return data_offset_; }  // where the tensors' bytes begin
  std::span<const std::byte> bytes() const { return file_; }
  std::string_view architecture() const { return get<std::string_view>("general.architecture"); }

  // Metadata in the file's order, and by key (nullptr when the key is absent).
  std::span<const GgufValue> metadata() const { return metadata_; }
  const GgufValue* find(std::string_view key) const;
  bool contains(std::string_view key) const { return find(key) != nullptr; }

  // The value of a key as T: uint32_t, int32_t, uint64_t, int64_t, float, double, bool, std::string_view or GgufArray.
  // Any integer type of the file is accepted when the value fits T, and any float type as float or double.
  // get() fails with ENOENT when the key is absent, get_if() returns nothing; both fail with EINVAL for another type.
  template <typename T>
  T get(std::string_view key) const;
  template <typename T>
  std::optional<T> get_if(std::string_view key) const;

  uint32_t u32(std::string_view key) const { return get<uint32_t>(key); }
  uint64_t u64(std::string_view key) const { return get<uint64_t>(key); }
  float f32(std::string_view key) const { return get<float>(key); }
  bool boolean(std::string_view key) const { return get<bool>(key); }
  std::string_view string(std::string_view key) const { return get<std::string_view>(key); }
  GgufArray array(std::string_view key) const { return get<GgufArray>(key); }

  // Tensors in the file's order, and by name (nullptr when there is none).
  std::span<const GgufTensor> tensors() const { return tensors_; }
  const GgufTensor* find_tensor(std::string_view name) const;

  // The tensor as a view for computing. Fails with ENOENT when there is none of that name and with ENOTSUP when its
  // type is not one of TensorType; tensor_if() returns nothing when there is none.
  TensorView tensor(std::string_view name) const;
  std::optional<TensorView> tensor_if(std::string_view name) const;
  TensorView view(const GgufTensor& tensor) const;

  // The header as a GGUF of its own, without the long arrays of the vocabulary: a few kilobytes that parse in
  // microseconds, for a prepared index.
  std::vector<std::byte> copy_header() const;

 private:
  class Parser;

  std::span<const std::byte> file_;
  uint32_t version_ = 0;
  uint64_t alignment_ = 32;
  uint64_t data_offset_ = 0;
  std::vector<GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
  std::vector<uint32_t> metadata_by_key_;  // indices, sorted by key
  std::vector<uint32_t> tensors_by_name_;  // indices, sorted by name
};

}  // namespace llmos::core
