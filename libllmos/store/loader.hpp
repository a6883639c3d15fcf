// SPDX-License-Identifier: MIT
// From a file to a model, in any store.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "store/store.hpp"

namespace llmos::core {

// llmos_store_load() says what it does.
std::unique_ptr<Model> load(Store& store, const std::string& path, llmos_model_options options);

// A writer for a program's own bytes; options.name and options.bytes are needed.
std::unique_ptr<Writer> create(Store& store, llmos_model_options options);

// Seals, and tells options.progress how the digest comes along.
std::unique_ptr<Model> seal(Writer& writer, const llmos_model_options& options);

// Throws EBADMSG when the content of the file (or, without a path, of the model in memory) has another digest than the
// model. Returns that digest otherwise; `found` has it in both cases.
void verify(Store& store, const std::string& name, const std::string* path, Digest& found);

// Of any file.
Digest file_digest(const std::string& path, unsigned threads);

}  // namespace llmos::core
