// SPDX-License-Identifier: MIT
// Copying the header of a GGUF file without its vocabulary.
#include <algorithm>

#include "format/gguf.hpp"

namespace llmos::core {
namespace {

bool is_kept(const GgufValue& value) {
  const bool vocabulary = value.type == GgufType::array && value.key.starts_with("tokenizer.ggml.");
  return !vocabulary && value.key != data_offset_key;
}

class HeaderWriter {
 public:
  void bytes(const void* data, uint64_t size) {
    const auto* begin = static_cast<const std::byte*>(data);
    out_.insert(out_.end(), begin, begin + size);
  }
  template <typename T>
  void number(T value) {
    bytes(&value, sizeof value);
  }
  void text(std::string_view value) {
    number(uint64_t{value.size()});
    bytes(value.data(), value.size());
  }

  void pair(const GgufValue& value) {
    text(value.key);
    number(static_cast<uint32_t>(value.type));
    if (value.type == GgufType::array) number(static_cast<uint32_t>(value.element));
    if (value.type == GgufType::array || value.type == GgufType::string) number(value.size);
    bytes(value.data, value.bytes);
  }

  void tensor(const GgufTensor& tensor, uint64_t data_offset) {
    text(tensor.name);
    number(tensor.dimensions);
    for (uint32_t index = 0; index < tensor.dimensions; ++index) number(tensor.shape[index]);
    number(tensor.type_number);
    number(tensor.offset - data_offset);
  }

  std::vector<std::byte> take() { return std::move(out_); }

 private:
  std::vector<std::byte> out_;
};

}  // namespace

std::vector<std::byte> Gguf::copy_header() const {
  HeaderWriter out;
  out.bytes("GGUF", 4);
  out.number(uint32_t{3});
  out.number(uint64_t{tensors_.size()});
  out.number(static_cast<uint64_t>(std::ranges::count_if(metadata_, is_kept)) + 1);
  for (const GgufValue& value : metadata_)
    if (is_kept(value)) out.pair(value);
  out.text(data_offset_key);
  out.number(static_cast<uint32_t>(GgufType::u64));
  out.number(data_offset_);
  for (const GgufTensor& tensor : tensors_) out.tensor(tensor, data_offset_);
  return out.take();
}

}  // namespace llmos::core
