// SPDX-License-Identifier: MIT
#include "store/digest_cache.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace llmos::core {
namespace {

constexpr int64_t kSettled = 2'000'000'000;  // ns; coarser than the time stamps of any file system in use, FAT included

int64_t nanoseconds(const timespec& time) { return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

// An empty path when there is no place for it, or it is not ours: somebody else could put lies there.
std::filesystem::path directory() {
  std::filesystem::path base;
  if (const char* cache = ::secure_getenv("XDG_CACHE_HOME"); cache && *cache == '/')
    base = cache;
  else if (const char* home = ::secure_getenv("HOME"); home && *home == '/')
    base = std::filesystem::path(home) / ".cache";
  else
    return {};
  const auto path = base / "llmos" / "digests";
  std::error_code error;
  std::filesystem::create_directories(path, error);
  struct stat status;
  if (error || ::stat(path.c_str(), &status) != 0 || status.st_uid != ::geteuid() || (status.st_mode & 022)) return {};
  return path;
}

// One small file per inode; what changes with the content stands inside, before the digest.
std::filesystem::path place_of(const FileIdentity& file) {
  const auto path = directory();
  return path.empty() ? path : path / fmt::format("{:x}-{:x}", file.device, file.inode);
}

std::string text_of(const FileIdentity& file) {
  return fmt::format("{} {} {}", file.size, file.modified_ns, file.changed_ns);
}

std::optional<Digest> from_hex(const std::string& hex) {
  Digest digest;
  if (hex.size() != 2 * digest.size() || hex.find_first_not_of("0123456789abcdef") != std::string::npos)
    return std::nullopt;
  for (size_t i = 0; i < digest.size(); ++i)
    digest[i] = static_cast<uint8_t>(std::stoul(hex.substr(2 * i, 2), nullptr, 16));
  return digest;
}

}  // namespace

std::optional<FileIdentity> identity_of(const struct stat& status) {
  timespec now;
  ::clock_gettime(CLOCK_REALTIME, &now);
  const int64_t changed = nanoseconds(status.st_ctim);
  if (!S_ISREG(status.st_mode) || changed > nanoseconds(now) - kSettled) return std::nullopt;
  return FileIdentity{status.st_dev, status.st_ino, static_cast<uint64_t>(status.st_size), nanoseconds(status.st_mtim),
                      changed};
}

std::optional<Digest> remembered_digest(const FileIdentity& file) {
  std::ifstream in(place_of(file));
  std::string identity, hex;
  if (!std::getline(in, identity) || !std::getline(in, hex) || identity != text_of(file)) return std::nullopt;
  return from_hex(hex);
}

void remember_digest(const FileIdentity& file, const Digest& digest) {
  const auto place = place_of(file);
  if (place.empty()) return;
  // Renamed into place, so that a reader never sees half of it.
  const std::filesystem::path fresh = fmt::format("{}.{}", place.string(), ::getpid());
  std::ofstream(fresh) << text_of(file) << '\n' << to_hex(digest) << '\n';
  std::error_code error;
  std::filesystem::rename(fresh, place, error);
  if (error) std::filesystem::remove(fresh, error);
}

}  // namespace llmos::core
