// SPDX-License-Identifier: MIT
// The prepared index of a model: what parsing it yields, made once, stored as a small model beside it, and shared by
// every process that runs it.
//
// An index is a header (magic, version, the size and digest of the model it was made of), a table of sections, and the
// sections: the model's GGUF header without the vocabulary's long arrays, and the vocabulary ready to be looked up. The
// weights stay in the model. Sections of kinds that a reader does not know are left alone, so that later ones (weights
// in another layout) need no new version.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "store/digest.hpp"
#include "store/store.hpp"

namespace llmos::core {

// An attached index; views of bytes that `owner` keeps.
struct PreparedIndex {
  std::shared_ptr<const void> owner;
  std::span<const std::byte> header;      // for Gguf
  std::span<const std::byte> vocabulary;  // for Vocabulary::view()
};

// The name under which the index of a model is stored.
std::string index_name(const std::string& model);

// The bytes of an index. Fails as Gguf and read_vocabulary() do for files that cannot be run.
std::vector<std::byte> make_index(std::span<const std::byte> model, const Digest& digest);

// Nothing when `index` is not an index, is damaged, was made by another version, or of another model.
std::optional<PreparedIndex> attach_index(std::span<const std::byte> index, std::shared_ptr<const void> owner,
                                          std::span<const std::byte> model, const Digest& digest);

// Whether an index that belongs to that user is to be believed: it is the model's owner, root, or who asks. Others, who
// may create models too, could have any text in it.
bool may_vouch(Store& store, Model& model, uint32_t uid);

// The index of an open model in its store: attached when a good one is there that may be believed.
std::optional<PreparedIndex> find_index(Store& store, Model& model);

// Makes the index and stores it, for whoever may read the model, in place of one that is not good. False: a good one
// was there. Fails as make_index() does, and as the store does where it takes no models (EACCES, EDQUOT, ENAMETOOLONG).
bool prepare(Store& store, Model& model);

}  // namespace llmos::core
