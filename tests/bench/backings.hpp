// SPDX-License-Identifier: MIT
// Ways to keep a model in memory that several processes share: llmos, and the four that there are without it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../vm/guest.hpp"

namespace llmos::bench {

// The file that every backing holds a copy of.
struct Source {
  std::string path;
  uint64_t bytes;  // a multiple of 2 MiB
};

// How long the parts of a load took, in seconds.
struct Load {
  double fill = 0;   // bytes from the disk into memory that was there already, where the two can be told apart
  double total = 0;  // from nothing to ready for use, digest included where there is one
};

class Backing {
 public:
  virtual ~Backing() = default;
  virtual std::string name() const = 0;
  virtual Load load(const Source& source) = 0;
  virtual guest::Fd open() const = 0;  // for mapping, by a user
  virtual void drop() = 0;             // its memory; timed
  virtual void forget() {}             // whatever else it left; not timed
};

// llmos comes first.
std::vector<std::unique_ptr<Backing>> all_backings(const Source& source);

double now();  // seconds

}  // namespace llmos::bench
