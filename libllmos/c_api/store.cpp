// SPDX-License-Identifier: MIT
// llmos_store_*: opening, loading, administration.
#include "c_api/guard.hpp"
#include "c_api/handles.hpp"
#include "store/loader.hpp"
#include "store/source.hpp"

using namespace llmos::core;

namespace {

const std::shared_ptr<Store>& shared(const llmos_store* store) {
  need(store, "store");
  return store->store;
}

Store& of(const llmos_store* store) { return *shared(store); }

std::string name_of(const char* name) {
  need(name, "name");
  check_name(name);
  return name;
}

// The name inside a UAPI struct, which must end within it.
template <size_t Size>
void check_name_field(const char (&name)[Size]) {
  if (::strnlen(name, Size) == Size) fail(EINVAL, "the model name has no end within {} bytes", Size);
  check_name(name);
}

llmos_model_options options_of(const llmos_model_options* options) {
  constexpr uint32_t known =
      LLMOS_OPTION_UID | LLMOS_OPTION_GID | LLMOS_OPTION_MODE | LLMOS_OPTION_EVICTABLE | LLMOS_OPTION_REPLACE;
  llmos_model_options ours{};
  ours.size = sizeof(ours);
  if (options) ours = sized(options, "options");
  if (ours.flags & ~known) fail(EINVAL, "the options have the unknown flags {:#x}", ours.flags & ~known);
  if (ours.flags & LLMOS_OPTION_MODE && ours.mode & ~static_cast<mode_t>(0777))
    fail(EINVAL, "the mode {:#o} is no set of permission bits", ours.mode);
  if (ours.signature_size && !ours.signature) fail(EINVAL, "a signature of {} bytes is at NULL", ours.signature_size);
  return ours;
}

llmos_model* handle(std::unique_ptr<Model> model, const std::shared_ptr<Store>& store) {
  return new llmos_model{std::move(model), store};
}

}  // namespace

int llmos_store_open(int which, llmos_store** store) {
  return guarded([&] {
    need(store, "store");
    *store = new llmos_store{open_store(which)};
  });
}

void llmos_store_close(llmos_store* store) { delete store; }

int llmos_store_kind(const llmos_store* store) {
  return guarded([&] { return of(store).kind(); });
}

int llmos_store_query(llmos_store* store, struct llmos_query* query) {
  return guarded([&] { give(query, of(store).query(), "query"); });
}

int llmos_store_load(llmos_store* store, const char* path, const llmos_model_options* options, llmos_model** model) {
  return guarded([&] {
    need(path, "path");
    need(model, "model");
    const auto& used = shared(store);
    *model = handle(load(*used, path, options_of(options)), used);
  });
}

int llmos_store_create(llmos_store* store, const llmos_model_options* options, llmos_writer** writer) {
  return guarded([&] {
    need(options, "options");
    need(writer, "writer");
    auto ours = options_of(options);
    const auto* signature = static_cast<const std::byte*>(ours.signature);
    auto made = std::make_unique<llmos_writer>(
        llmos_writer{create(of(store), ours), store->store, {signature, signature + ours.signature_size}, ours});
    *writer = made.release();
  });
}

int llmos_writer_write(llmos_writer* writer, uint64_t offset, const void* data, size_t size) {
  return guarded([&] {
    need(writer, "writer");
    if (size) need(data, "data");
    writer->writer->write(offset, {static_cast<const std::byte*>(data), size});
  });
}

int llmos_writer_seal(llmos_writer* writer, llmos_model** model) {
  return guarded([&] {
    need(writer, "writer");
    need(model, "model");
    writer->options.signature = writer->signature.data();
    *model = handle(seal(*writer->writer, writer->options), writer->store);
  });
}

void llmos_writer_close(llmos_writer* writer) { delete writer; }

int llmos_model_open(llmos_store* store, const char* name, llmos_model** model) {
  return guarded([&] {
    need(model, "model");
    const auto& used = shared(store);
    *model = handle(used->open(name_of(name)), used);
  });
}

int llmos_store_list(llmos_store* store, llmos_stat_fn each, void* context) {
  return guarded([&] {
    need(reinterpret_cast<const void*>(each), "each");
    for (const auto& stat : of(store).list())
      if (const int result = each(context, &stat)) return result;
    return 0;
  });
}

int llmos_store_stat(llmos_store* store, const char* name, struct llmos_model_stat* stat) {
  return guarded([&] { give(stat, of(store).stat(name_of(name)), "stat"); });
}

int llmos_store_remove(llmos_store* store, const char* name) {
  return guarded([&] { of(store).remove(name_of(name)); });
}

int llmos_store_set(llmos_store* store, const struct llmos_model_set* set) {
  return guarded([&] {
    const auto ours = sized(set, "set");
    check_name_field(ours.name);
    of(store).set(ours);
  });
}

int llmos_store_evict(llmos_store* store, const char* name) {
  return guarded([&] { of(store).evict(name_of(name)); });
}

int llmos_store_revoke(llmos_store* store, struct llmos_model_revoke* revoke) {
  return guarded([&] {
    auto ours = sized(revoke, "revoke");
    check_name_field(ours.name);
    of(store).revoke(ours);
    give(revoke, ours, "revoke");
  });
}

int llmos_store_grants(llmos_store* store, const char* name, llmos_grant_fn each, void* context) {
  return guarded([&] {
    need(reinterpret_cast<const void*>(each), "each");
    for (const auto& grant : of(store).grants(name_of(name)))
      if (const int result = each(context, &grant)) return result;
    return 0;
  });
}

int llmos_store_verify(llmos_store* store, const char* name, const char* path, uint8_t found[LLMOS_DIGEST_SIZE]) {
  return guarded([&] {
    Digest digest{};
    auto hand_over = [&] {
      if (found) std::copy(digest.begin(), digest.end(), found);
    };
    const std::string file = path ? path : "";
    try {
      verify(of(store), name_of(name), path ? &file : nullptr, digest);
    } catch (...) {
      hand_over();
      throw;
    }
    hand_over();
  });
}

int llmos_file_digest(const char* path, uint32_t threads, uint8_t digest[LLMOS_DIGEST_SIZE]) {
  return guarded([&] {
    need(path, "path");
    need(digest, "digest");
    const Digest found = file_digest(path, threads);
    std::copy(found.begin(), found.end(), digest);
  });
}
