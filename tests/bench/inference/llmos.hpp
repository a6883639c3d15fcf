// SPDX-License-Identifier: MIT
// One process of llmos, measured from its start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace llmos::bench {

struct RunOptions {
  std::string path;
  unsigned threads = 1;
  size_t prompt = 512, tokens = 64;
  uint64_t since = 0;   // when the process was asked for, nanoseconds of CLOCK_MONOTONIC
  bool index = true;    // attaches by the prepared index that lies beside the model
  bool huge = false;    // weights in memory of huge pages, as the kernel's store keeps them, not in the page cache
  bool probe = false;   // measures the read bandwidth around the decoding
  std::string kernels;  // of the CPU; empty: the best
};

// Writes the prepared index of a model to PATH.index.
void write_index(const std::string& path);

// Attaches, generates a token, reads the prompt, generates; prints one line of JSON.
void run(const RunOptions& options);

// Attaches, generates a token and says "ready"; at the next line of standard input prints what memory it has, and stays
// until standard input ends.
void hold(const RunOptions& options);

}  // namespace llmos::bench
