// SPDX-License-Identifier: MIT
// One measurement each. All times in seconds; users of a backing are processes of their own.
#pragma once

#include <cstdint>

#include "backings.hpp"

namespace llmos::bench {

struct Use {
  double first;        // open, map, read the first byte
  double all;          // and one byte of every page of 4 KiB
  double again;        // those bytes once more: all is mapped now, but the TLB is as cold
  double faults;       // page faults that the first time took
  double page_tables;  // bytes of them
};
// All in one process, in turn, that many times; of each the least disturbed time.
std::vector<Use> measure_use(const std::vector<Backing*>& backings, uint64_t bytes, unsigned times);

// O_DIRECT reads into huge pages of anonymous memory, with the queue depth and request size of LLMOS_MODEL_FILL.
double measure_disk(const Source& source);

// Takes all the memory that can be had without killing anybody, and gives it back.
void press_memory();

// LLMOS_MODEL_REVOKE of one process, while that many have mapped and touched the model.
double measure_revoke(const Backing& llmos, uint64_t bytes, unsigned mappers);

double load_average();

}  // namespace llmos::bench
