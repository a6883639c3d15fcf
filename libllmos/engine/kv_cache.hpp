// SPDX-License-Identifier: MIT
// Keys and values of the positions that sequences have been through, in pages from one pool of bounded size.
#pragma once

#include <cstddef>
#include <mutex>
#include <span>
#include <vector>

#include "backend/backend.hpp"

namespace llmos::core {

// The pool. Thread-safe. Its memory is reserved at once and, on the CPU, taken from the system page by page as it is
// used.
class KvCache {
 public:
  KvCache(Backend& backend, const CacheLayout& layout, size_t pages);

  const CacheLayout& layout() const { return layout_; }
  size_t capacity() const { return pages_; }
  size_t available() const;

  std::vector<std::byte*> take(size_t pages);  // all of them, or ENOMEM
  void give_back(std::span<std::byte* const> pages) noexcept;

 private:
  const CacheLayout layout_;
  const size_t pages_;
  Memory memory_;
  mutable std::mutex mutex_;
  std::vector<std::byte*> free_;  // the last is the next to go: recently used pages first
};

// The pages of one sequence; returns them when it goes.
class CachePages {
 public:
  explicit CachePages(KvCache& cache) : cache_(&cache) {}
  ~CachePages() { cache_->give_back(pages_); }
  CachePages(const CachePages&) = delete;
  CachePages& operator=(const CachePages&) = delete;

  // Grows to hold `positions`; ENOMEM leaves everything as it was.
  void reserve(size_t positions);
  // Keeps the pages of the first `positions` only.
  void shrink(size_t positions) noexcept;
  std::span<std::byte* const> pages() const { return pages_; }

 private:
  size_t pages_for(size_t positions) const;

  KvCache* cache_;
  std::vector<std::byte*> pages_;
};

}  // namespace llmos::core
