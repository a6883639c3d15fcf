// SPDX-License-Identifier: MIT
#include "engine/kv_cache.hpp"

#include <cerrno>

#include "system/error.hpp"

namespace llmos::core {

KvCache::KvCache(Backend& backend, const CacheLayout& layout, size_t pages)
    : layout_(layout), pages_(pages), memory_(backend.allocate(pages * layout.page_bytes())) {
  free_.reserve(pages);
  for (size_t i = pages; i-- > 0;) free_.push_back(memory_.get() + i * layout_.page_bytes());
}

size_t KvCache::available() const {
  const std::lock_guard lock(mutex_);
  return free_.size();
}

std::vector<std::byte*> KvCache::take(size_t pages) {
  const std::lock_guard lock(mutex_);
  if (pages > free_.size())
    fail(ENOMEM,
         "the cache has {} of {} pages of {} positions left and {} are needed; end a session or give the engine more "
         "cache memory",
         free_.size(), pages_, layout_.positions, pages);
  std::vector<std::byte*> taken(free_.end() - static_cast<ptrdiff_t>(pages), free_.end());
  free_.resize(free_.size() - pages);
  return taken;
}

void KvCache::give_back(std::span<std::byte* const> pages) noexcept {
  const std::lock_guard lock(mutex_);
  free_.insert(free_.end(), pages.begin(), pages.end());  // never grows beyond what the constructor reserved
}

size_t CachePages::pages_for(size_t positions) const {
  return (positions + cache_->layout().positions - 1) / cache_->layout().positions;
}

void CachePages::reserve(size_t positions) {
  const size_t wanted = pages_for(positions);
  if (wanted <= pages_.size()) return;
  pages_.reserve(wanted);
  const std::vector<std::byte*> more = cache_->take(wanted - pages_.size());
  pages_.insert(pages_.end(), more.begin(), more.end());
}

void CachePages::shrink(size_t positions) noexcept {
  const size_t kept = pages_for(positions);
  if (kept >= pages_.size()) return;
  cache_->give_back(std::span(pages_).subspan(kept));
  pages_.resize(kept);
}

}  // namespace llmos::core
