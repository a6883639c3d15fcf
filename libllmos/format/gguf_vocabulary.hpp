// SPDX-License-Identifier: MIT
// The tokenizer that a GGUF file carries in its tokenizer.ggml.* metadata.
#pragma once

#include "format/gguf.hpp"
#include "text/tokenizer.hpp"
#include "text/vocabulary.hpp"

namespace llmos::core {

// What the file says about its tokens; views into the file. Fails with ENOENT or EINVAL when a key is missing or of
// another type, EBADMSG when they contradict one another, and ENOTSUP for a tokenizer llmos does not have.
VocabularySource read_vocabulary(const Gguf& gguf);

// Vocabulary and tokenizer in one step, for callers without a prepared index.
Tokenizer make_tokenizer(const Gguf& gguf);

}  // namespace llmos::core
