// SPDX-License-Identifier: MIT
#include "engine/prepared.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "format/gguf.hpp"
#include "format/gguf_vocabulary.hpp"
#include "store/loader.hpp"
#include "system/error.hpp"
#include "text/vocabulary.hpp"

namespace llmos::core {
namespace {

constexpr std::array<char, 8> expected_magic{'L', 'L', 'M', 'O', 'S', 'I', 'D', 'X'};
constexpr uint32_t current_version = 1;
constexpr uint64_t section_alignment = 4096;

struct IndexHeader {
  std::array<char, 8> magic;
  uint32_t version;
  uint32_t sections;
  uint64_t index_bytes;
  uint64_t model_bytes;
  Digest model_digest;
};

enum class SectionKind : uint32_t { gguf_header = 1, vocabulary = 2 };

struct Section {
  SectionKind kind;
  uint32_t reserved;
  uint64_t offset, bytes;
};

static_assert(sizeof(IndexHeader) == 64 && sizeof(Section) == 24);

void append_section(std::vector<std::byte>& index, size_t number, SectionKind kind, std::span<const std::byte> bytes) {
  index.resize((index.size() + section_alignment - 1) / section_alignment * section_alignment);
  const Section section{kind, 0, index.size(), bytes.size()};
  std::memcpy(index.data() + sizeof(IndexHeader) + number * sizeof(Section), &section, sizeof section);
  index.insert(index.end(), bytes.begin(), bytes.end());
}

// The bytes of the section of that kind; empty when there is none or it does not lie within the index.
std::span<const std::byte> find_section(std::span<const std::byte> index, uint32_t sections, SectionKind kind) {
  for (uint32_t i = 0; i < sections; i++) {
    Section section;
    const size_t at = sizeof(IndexHeader) + i * sizeof section;
    if (at + sizeof section > index.size()) return {};
    std::memcpy(&section, index.data() + at, sizeof section);
    if (section.kind != kind) continue;
    if (section.offset % 8 || section.offset > index.size() || section.bytes > index.size() - section.offset) return {};
    return index.subspan(section.offset, section.bytes);
  }
  return {};
}

}  // namespace

std::string index_name(const std::string& model) { return model + ".index"; }

std::vector<std::byte> make_index(std::span<const std::byte> model, const Digest& digest) {
  const Gguf gguf(model);
  const Vocabulary vocabulary = Vocabulary::build(read_vocabulary(gguf));
  std::vector<std::byte> index(sizeof(IndexHeader) + 2 * sizeof(Section));
  append_section(index, 0, SectionKind::gguf_header, gguf.copy_header());
  append_section(index, 1, SectionKind::vocabulary, vocabulary.image());
  const IndexHeader header{expected_magic, current_version, 2, index.size(), model.size(), digest};
  std::memcpy(index.data(), &header, sizeof header);
  return index;
}

std::optional<PreparedIndex> attach_index(std::span<const std::byte> index, std::shared_ptr<const void> owner,
                                          std::span<const std::byte> model, const Digest& digest) {
  IndexHeader header;
  if (index.size() < sizeof header) return std::nullopt;
  std::memcpy(&header, index.data(), sizeof header);
  if (header.magic != expected_magic || header.version != current_version || header.index_bytes != index.size() ||
      header.model_bytes != model.size() || header.model_digest != digest)
    return std::nullopt;
  PreparedIndex attached{std::move(owner), find_section(index, header.sections, SectionKind::gguf_header),
                         find_section(index, header.sections, SectionKind::vocabulary)};
  try {  // both check what they are given
    const Gguf gguf(attached.header, model);
    Vocabulary::view(attached.vocabulary);
  } catch (const Failure&) {
    return std::nullopt;
  }
  return attached;
}

bool may_vouch(Store& store, Model& model, uint32_t uid) {
  return store.kind() != LLMOS_STORE_KERNEL || uid == 0 || uid == geteuid() || uid == model.stat().uid;
}

std::optional<PreparedIndex> find_index(Store& store, Model& model) {
  try {
    const std::shared_ptr<Model> index = store.open(index_name(model.name()));
    if (!may_vouch(store, model, index->stat().uid)) return std::nullopt;
    return attach_index(index->bytes(), index, model.bytes(), model.digest());
  } catch (const Failure&) {  // there is none, or not for us
    return std::nullopt;
  }
}

bool prepare(Store& store, Model& model) {
  if (find_index(store, model)) return false;
  const std::vector<std::byte> index = make_index(model.bytes(), model.digest());
  const std::string name = index_name(model.name());
  llmos_model_options options{};
  options.size = sizeof options;
  options.name = name.c_str();
  options.bytes = index.size();
  options.flags = LLMOS_OPTION_REPLACE;
  if (store.kind() == LLMOS_STORE_KERNEL) {  // who may read the model may read its index; it goes when the model may go
    const struct llmos_model_stat stat = model.stat();
    options.flags |= LLMOS_OPTION_MODE | LLMOS_OPTION_GID;
    if (stat.flags & LLMOS_MODEL_EVICTABLE) options.flags |= LLMOS_OPTION_EVICTABLE;
    options.mode = stat.mode & 0777;
    options.gid = stat.gid;
    options.priority = stat.priority;
  }
  const std::unique_ptr<Writer> writer = create(store, options);
  writer->write(0, index);
  seal(*writer, options);
  return true;
}

}  // namespace llmos::core
