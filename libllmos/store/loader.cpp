// SPDX-License-Identifier: MIT
#include "store/loader.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>
#include <vector>

#include "store/digest_cache.hpp"
#include "store/progress.hpp"
#include "store/source.hpp"
#include "system/error.hpp"
#include "system/parallel.hpp"

namespace llmos::core {
namespace {

constexpr size_t kCopy = size_t{4} << 20;  // bytes moved at once where the library copies by itself

[[noreturn]] void fail_cancelled(const Source& source) {
  fail(ECANCELED, "loading \"{}\" was cancelled", source.path());
}

// Copies a source into a writer in the fastest way that both allow.
class Filler {
 public:
  Filler(const Source& source, Writer& writer, unsigned threads, const Cancelled& cancelled)
      : source_(source), writer_(writer), threads_(threads), cancelled_(cancelled), direct_(source.direct_fd() >= 0) {}

  void run() {
    if (!source_.seekable()) return stream();
    const uint64_t chunk = writer_.fill_chunk();
    parallel_for((source_.size() + chunk - 1) / chunk, threads_ ? threads_ : writer_.fill_threads(), [&] {
      return [&, buffer = std::vector<std::byte>()](uint64_t i) mutable {
        if (cancelled_) fail_cancelled(source_);
        fill(i * chunk, std::min(chunk, source_.size() - i * chunk), buffer);
      };
    });
  }

 private:
  // Direct reads, or reads by the page cache, or a copy of our own.
  void fill(uint64_t offset, uint64_t length, std::vector<std::byte>& buffer) {
    if (direct_ && writer_.fill(source_.direct_fd(), offset, length)) return;
    if (writer_.fill(source_.fd(), offset, length)) return;
    buffer.resize(kCopy);
    for (uint64_t done = 0; done < length; done += kCopy) {
      const std::span<std::byte> part(buffer.data(), std::min<uint64_t>(kCopy, length - done));
      check(pread_all(source_.fd(), part, offset + done), part.size(), offset + done);
      writer_.write(offset + done, part);
    }
  }

  void stream() {
    std::vector<std::byte> buffer(kCopy);
    for (uint64_t done = 0; done < source_.size(); done += kCopy) {
      if (cancelled_) fail_cancelled(source_);
      const std::span<std::byte> part(buffer.data(), std::min<uint64_t>(kCopy, source_.size() - done));
      check(read_all(source_.fd(), part), part.size(), done);
      writer_.write(done, part);
    }
  }

  void check(ssize_t got, size_t wanted, uint64_t offset) const {
    if (got < 0) fail_errno(fmt::format("cannot read \"{}\" at byte {}", source_.path(), offset));
    if (static_cast<size_t>(got) < wanted)
      fail(ENODATA, "\"{}\" ended at byte {}, before the {} bytes of the model", source_.path(),
           offset + static_cast<uint64_t>(got), source_.size());
  }

  const Source& source_;
  Writer& writer_;
  const unsigned threads_;
  const Cancelled& cancelled_;
  const bool direct_;
};

void fill(const Source& source, Writer& writer, const llmos_model_options& options) {
  const bool cancelled = watched(
      options, LLMOS_PHASE_FILL, source.size(),
      [&](const Cancelled& cancelled) { Filler(source, writer, options.threads, cancelled).run(); },
      [&] { return writer.filled(); });
  if (cancelled) fail_cancelled(source);
  source.check_unchanged();
}

Digest digest_of(const Source& source, const llmos_model_options& options) {
  const auto identity = identity_of(source.status());
  if (identity)
    if (const auto digest = remembered_digest(*identity)) return *digest;
  Digest digest;
  std::atomic<uint64_t> done{0};
  watched(
      options, LLMOS_PHASE_DIGEST, source.size(),
      [&](const Cancelled& cancelled) {
        digest = digest_file(source.fd(), source.size(), options.threads, [&](uint64_t bytes) {
          if (cancelled) fail_cancelled(source);
          done = bytes;
        });
      },
      [&] { return done.load(); });
  if (identity) remember_digest(*identity, digest);
  return digest;
}

bool same_content(const Source& source, const Digest& digest, const llmos_model_options& options) {
  // What the file system measured may be of another kind (salt, block size), so only its yes is an answer.
  return measured_digest(source.fd()) == digest || digest_of(source, options) == digest;
}

std::optional<struct llmos_model_stat> find(Store& store, const std::string& name) {
  try {
    return store.stat(name);
  } catch (const Failure& failure) {
    if (failure.code() == ENOENT) return std::nullopt;
    throw;
  }
}

Digest digest_in(const struct llmos_model_stat& stat) {
  Digest digest;
  std::copy(std::begin(stat.digest), std::end(stat.digest), digest.begin());
  return digest;
}

[[noreturn]] void fail_different(const Source& source, const std::string& name) {
  fail(EEXIST, "there is a model \"{}\" already, and its content differs from \"{}\": give another name, or replace it",
       name, source.path());
}

// The model of that name, if it holds what the source does; nothing if there is none. An evicted one is to be replaced.
std::unique_ptr<Model> existing(Store& store, const Source& source, llmos_model_options& options) {
  const auto found = find(store, options.name);
  if (!found) return nullptr;
  if (found->bytes != source.size() || !source.seekable()) fail_different(source, options.name);
  if (found->state == LLMOS_STATE_EVICTED) {
    if (!same_content(source, digest_in(*found), options)) fail_different(source, options.name);
    options.flags |= LLMOS_OPTION_REPLACE;
    return nullptr;
  }
  auto model = store.open(options.name);
  const auto identity = identity_of(source.status());
  if (identity && model->came_from(*identity)) return model;
  if (!same_content(source, model->digest(), options)) fail_different(source, options.name);
  return model;
}

// A source that did not change while it was read has the digest of the model.
void remember(const Source& source, Model& model) {
  struct stat now;
  const auto identity = identity_of(source.status());
  if (!identity || ::fstat(source.fd(), &now) != 0 || identity_of(now) != identity) return;
  if (!model.set_origin(*identity)) remember_digest(*identity, model.digest());
}

std::unique_ptr<Model> load_afresh(Store& store, const Source& source, const llmos_model_options& options) {
  const auto writer = store.create(options);
  fill(source, *writer, options);
  auto model = seal(*writer, options);
  remember(source, *model);
  return model;
}

}  // namespace

std::unique_ptr<Model> load(Store& store, const std::string& path, llmos_model_options options) {
  const Source source(path, options.bytes);
  const std::string name = options.name ? options.name : source.name();
  check_name(name);
  options.name = name.c_str();
  options.bytes = source.size();
  if (!(options.flags & LLMOS_OPTION_MODE)) options.mode = source.read_bits();
  const bool replace = options.flags & LLMOS_OPTION_REPLACE;

  if (!replace)
    if (auto model = existing(store, source, options)) return model;
  try {
    return load_afresh(store, source, options);
  } catch (const Failure& failure) {
    // Another process was faster: what it loaded will do, if it is the same.
    if (failure.code() != EEXIST || replace || !source.seekable()) throw;
  }
  if (auto model = existing(store, source, options)) return model;
  return load_afresh(store, source, options);
}

std::unique_ptr<Writer> create(Store& store, llmos_model_options options) {
  check_name(options.name ? options.name : "");
  if (!options.bytes) fail(EINVAL, "model \"{}\" is to have no bytes, and a model has at least one", options.name);
  if (!(options.flags & LLMOS_OPTION_MODE)) options.mode = 0440;
  return store.create(options);
}

std::unique_ptr<Model> seal(Writer& writer, const llmos_model_options& options) {
  const std::span signature(static_cast<const std::byte*>(options.signature), options.signature_size);
  std::unique_ptr<Model> model;
  watched(
      options, LLMOS_PHASE_DIGEST, writer.size(), [&](const Cancelled&) { model = writer.seal(signature); },
      [&] { return writer.hashed(); });
  return model;
}

Digest file_digest(const std::string& path, unsigned threads) {
  const Source source(path, 0);
  if (!source.seekable()) fail(EINVAL, "\"{}\" is a stream; only a file has a digest", path);
  return digest_file(source.fd(), source.size(), threads);
}

void verify(Store& store, const std::string& name, const std::string* path, Digest& found) {
  const auto model = store.open(name);
  if (!path) {
    found = digest_bytes(model->bytes());
    if (found != model->digest())
      fail(EBADMSG,
           "the memory of model \"{}\" has the digest {}, but it was sealed with {}: it is damaged, load it again",
           name, to_hex(found), to_hex(model->digest()));
    return;
  }
  found = file_digest(*path, 0);
  if (found != model->digest())
    fail(EBADMSG, "\"{}\" has the digest {}, and model \"{}\" has {}: they differ", *path, to_hex(found), name,
         to_hex(model->digest()));
}

}  // namespace llmos::core
