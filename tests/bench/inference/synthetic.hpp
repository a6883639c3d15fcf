// SPDX-License-Identifier: MIT
// A model of Llama 3.2 1B's shape with random weights: as much to read, to compute and to tokenize as the real one.
#pragma once

#include <cstdint>
#include <string>

namespace llmos::bench {

// `type`, as GGUF names it, is that of all matrices; the embedding of 4-bit models is Q6_K, as llama.cpp quantises.
void write_synthetic_model(const std::string& type, const std::string& path, uint32_t layers);

}  // namespace llmos::bench
