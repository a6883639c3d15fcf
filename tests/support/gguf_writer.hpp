// SPDX-License-Identifier: MIT
// Writes GGUF v3 files for tests and benchmarks: metadata of every type, tensors of any type, any alignment.
//
//   GgufWriter writer;
//   writer.set("general.architecture", "llama").set("llama.block_count", uint32_t{2});
//   writer.tensor("token_embd.weight", TensorType::f32, {64, 512}, values);
//   std::vector<std::byte> file = writer.bytes();   // or writer.write(path)
//
// Pairs and tensors come in the order in which they were added. A tensor's bytes are given at once, or by a function
// that fills them when the file is written, so that a file larger than memory can be made.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <initializer_list>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "format/gguf.hpp"

namespace llmos::test {

class GgufWriter {
 public:
  using Bytes = std::vector<std::byte>;
  using Fill = std::function<void(std::span<std::byte>)>;

  // One pair: an integer or float of its C++ type, a bool, or a string.
  template <typename T>
  GgufWriter& set(std::string_view key, const T& value) {
    begin_pair(key, type_of<T>());
    put_value(metadata_, value);
    return *this;
  }

  // One pair holding an array, from a vector, an array or a braced list.
  template <typename T>
  GgufWriter& set_array(std::string_view key, std::span<const T> values) {
    begin_pair(key, core::GgufType::array);
    put(metadata_, static_cast<uint32_t>(type_of<T>()));
    put(metadata_, uint64_t{values.size()});
    for (const T& value : values) put_value(metadata_, value);
    return *this;
  }
  template <typename T>
  GgufWriter& set_array(std::string_view key, const std::vector<T>& values) {
    if constexpr (std::is_same_v<T, bool>) {
      const std::vector<uint8_t> bytes(values.begin(), values.end());
      begin_pair(key, core::GgufType::array);
      put(metadata_, static_cast<uint32_t>(core::GgufType::boolean));
      put(metadata_, uint64_t{bytes.size()});
      for (const uint8_t byte : bytes) put(metadata_, byte);
      return *this;
    } else {
      return set_array(key, std::span<const T>(values));
    }
  }
  template <typename T>
  GgufWriter& set_array(std::string_view key, std::initializer_list<T> values) {
    return set_array(key, std::vector<T>(values));
  }

  // Writes general.alignment too; call it at most once. Without it tensors are aligned to 32 bytes.
  GgufWriter& alignment(uint32_t bytes) {
    alignment_ = bytes;
    return set("general.alignment", bytes);
  }

  GgufWriter& tensor(std::string_view name, core::TensorType type, const std::vector<uint64_t>& shape, Fill fill) {
    uint64_t elements = 1;
    for (const uint64_t length : shape) elements *= length;
    return raw_tensor(name, static_cast<uint32_t>(type), shape, core::tensor_bytes(type, elements), std::move(fill));
  }

  // `values` are the tensor's bytes in the file: floats for f32, blocks for quantised types. They are copied.
  template <typename T>
  GgufWriter& tensor(std::string_view name, core::TensorType type, const std::vector<uint64_t>& shape,
                     const std::vector<T>& values) {
    const auto bytes = std::as_bytes(std::span(values));
    tensor(name, type, shape, [copy = Bytes(bytes.begin(), bytes.end())](std::span<std::byte> out) {
      if (out.size() != copy.size()) throw std::invalid_argument("tensor: shape and data disagree");
      std::ranges::copy(copy, out.begin());
    });
    return *this;
  }

  // A tensor of a type that TensorType does not know.
  GgufWriter& raw_tensor(std::string_view name, uint32_t type_number, const std::vector<uint64_t>& shape,
                         uint64_t bytes, Fill fill) {
    data_bytes_ = aligned(data_bytes_);
    put_value(table_, name);
    put(table_, static_cast<uint32_t>(shape.size()));
    for (const uint64_t length : shape) put(table_, length);
    put(table_, type_number);
    put(table_, data_bytes_);
    tensors_.push_back({data_bytes_, bytes, std::move(fill)});
    data_bytes_ += bytes;
    return *this;
  }

  // Everything before the tensors' bytes, padded to the alignment.
  Bytes header() const {
    Bytes out;
    for (const char letter : std::string_view("GGUF")) put(out, letter);
    put(out, uint32_t{3});
    put(out, uint64_t{tensors_.size()});
    put(out, pairs_);
    out.insert(out.end(), metadata_.begin(), metadata_.end());
    out.insert(out.end(), table_.begin(), table_.end());
    out.resize(aligned(out.size()));
    return out;
  }

  Bytes bytes() const {
    Bytes out = header();
    const size_t data = out.size();
    out.resize(data + data_bytes_);
    for (const Tensor& tensor : tensors_) tensor.fill(std::span(out).subspan(data + tensor.offset, tensor.bytes));
    return out;
  }

  void write(const std::filesystem::path& path) const {
    std::ofstream file(path, std::ios::binary | std::ios::trunc);
    const auto append = [&](const Bytes& bytes) {
      file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    };
    append(header());
    uint64_t written = 0;
    for (const Tensor& tensor : tensors_) {
      append(Bytes(tensor.offset - written));
      Bytes buffer(tensor.bytes);
      tensor.fill(buffer);
      append(buffer);
      written = tensor.offset + tensor.bytes;
    }
    if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
  }

 private:
  struct Tensor {
    uint64_t offset;  // into the data section
    uint64_t bytes;
    Fill fill;
  };

  template <typename T>
  static constexpr core::GgufType type_of() {
    using enum core::GgufType;
    if constexpr (std::is_same_v<T, bool>)
      return boolean;
    else if constexpr (std::is_same_v<T, float>)
      return f32;
    else if constexpr (std::is_same_v<T, double>)
      return f64;
    else if constexpr (std::is_convertible_v<T, std::string_view>)
      return string;
    else if constexpr (std::is_signed_v<T>)
      return std::array{i8, i16, i32, i64}[size_index(sizeof(T))];
    else
      return std::array{u8, u16, u32, u64}[size_index(sizeof(T))];
  }
  static constexpr size_t size_index(size_t bytes) { return bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : 3; }

  template <typename T>
  static void put(Bytes& out, const T& value) {
    const auto* bytes = reinterpret_cast<const std::byte*>(&value);
    out.insert(out.end(), bytes, bytes + sizeof value);
  }

  template <typename T>
  static void put_value(Bytes& out, const T& value) {
    if constexpr (std::is_convertible_v<T, std::string_view>) {
      const std::string_view text = value;
      put(out, uint64_t{text.size()});
      for (const char letter : text) put(out, letter);
    } else {
      put(out, value);
    }
  }

  void begin_pair(std::string_view key, core::GgufType type) {
    put_value(metadata_, key);
    put(metadata_, static_cast<uint32_t>(type));
    ++pairs_;
  }

  uint64_t aligned(uint64_t position) const { return (position + alignment_ - 1) / alignment_ * alignment_; }

  uint32_t alignment_ = 32;
  uint64_t pairs_ = 0;
  Bytes metadata_;
  Bytes table_;
  std::vector<Tensor> tensors_;
  uint64_t data_bytes_ = 0;
};

}  // namespace llmos::test
