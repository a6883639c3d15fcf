// SPDX-License-Identifier: MIT
//
// llmos: operating-system support for large language models. The C++ API: header-only, over the C API of llmos.h, whose
// comments hold here too.
//
//   llmos::Store store;                                   // the kernel's, or this process's own
//   llmos::Model model = store.load("gemma-3-270m.gguf");  // once per machine; then a mapping
//   std::span<const std::byte> bytes = model.bytes();
//
// Objects own their handles, can be moved and not copied, and may be used from any thread. What fails throws
// llmos::Error.
#ifndef LLMOS_LLMOS_HPP
#define LLMOS_LLMOS_HPP

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "llmos.h"

namespace llmos {

// What failed: code() is a positive errno, what() says what was asked, what was found and what to do.
class Error : public std::runtime_error {
 public:
  Error(int code, const std::string& message) : std::runtime_error(message), code_(code) {}
  int code() const noexcept { return code_; }

 private:
  int code_;
};

namespace detail {

inline int check(int result) {
  if (result < 0) throw Error(-result, llmos_last_error());
  return result;
}

template <auto Close>
struct Closer {
  template <typename Handle>
  void operator()(Handle* handle) const noexcept {
    Close(handle);
  }
};
template <typename Handle, auto Close>
using Owned = std::unique_ptr<Handle, Closer<Close>>;

// Lets a C++ function be called through the C API: what it throws comes out on the other side.
template <typename Call>
class Callback {
 public:
  explicit Callback(Call call) : call_(std::move(call)) {}

  template <typename... Args>
  static int invoke(void* context, Args... args) noexcept {
    auto& self = *static_cast<Callback*>(context);
    try {
      return self.call_(args...) ? 0 : 1;
    } catch (...) {
      self.thrown_ = std::current_exception();
      return 1;
    }
  }

  // Checks the result of the C function that was given this callback.
  void finish(int result) const {
    if (thrown_) std::rethrow_exception(thrown_);
    check(result);
  }

 private:
  Call call_;  // true: go on
  std::exception_ptr thrown_;
};

inline void put_name(char (&field)[LLMOS_NAME_SIZE], const std::string& name) {
  if (name.size() >= sizeof(field)) throw Error(EINVAL, "the model name \"" + name + "\" is too long");
  std::memcpy(field, name.c_str(), name.size() + 1);
}

}  // namespace detail

inline std::string version() { return llmos_version(); }

// SHA-256 in fs-verity's way (blocks of 4096 bytes, no salt): equal digests mean equal content.
using Digest = std::array<uint8_t, LLMOS_DIGEST_SIZE>;

inline std::string to_hex(const Digest& digest) {
  constexpr char digits[] = "0123456789abcdef";
  std::string hex;
  for (uint8_t byte : digest) {
    hex += digits[byte >> 4];
    hex += digits[byte & 15];
  }
  return hex;
}

// The digest that a model made of this file has.
inline Digest digest_of_file(const std::string& path) {
  Digest digest;
  detail::check(llmos_file_digest(path.c_str(), 0, digest.data()));
  return digest;
}

enum class StoreKind : int { automatic = LLMOS_STORE_AUTO, kernel = LLMOS_STORE_KERNEL, memory = LLMOS_STORE_MEMORY };

enum class State : uint32_t {
  filling = LLMOS_STATE_FILLING,
  sealing = LLMOS_STATE_SEALING,
  sealed = LLMOS_STATE_SEALED,
  evicted = LLMOS_STATE_EVICTED,
};

// What is known of a model; llmos_store_list() says what is missing without the right to use /dev/llmos.
struct ModelInfo {
  std::string name;
  State state{};
  uint64_t bytes = 0;     // length
  uint64_t filled = 0;    // bytes that arrived
  uint64_t hashed = 0;    // bytes digested
  uint64_t resident = 0;  // bytes of memory held
  uint64_t huge = 0;      // of these, in pages of 2 MiB
  uint64_t idle_ns = 0;   // since the last close; 0 while in use
  uint32_t grants = 0;
  bool evictable = false;
  bool is_signed = false;
  int32_t priority = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t mode = 0;
  Digest digest{};

  ModelInfo() = default;
  explicit ModelInfo(const struct llmos_model_stat& stat)
      : name(stat.name),
        state(static_cast<State>(stat.state)),
        bytes(stat.bytes),
        filled(stat.filled),
        hashed(stat.hashed),
        resident(stat.resident),
        huge(stat.huge),
        idle_ns(stat.idle_ns),
        grants(stat.grants),
        evictable(stat.flags & LLMOS_MODEL_EVICTABLE),
        is_signed(stat.flags & LLMOS_MODEL_SIGNED),
        priority(stat.priority),
        uid(stat.uid),
        gid(stat.gid),
        mode(stat.mode) {
    std::copy(std::begin(stat.digest), std::end(stat.digest), digest.begin());
  }
};

// One open of a model.
struct Grant {
  uint64_t id = 0;
  uint64_t cgroup = 0;     // inode number of its directory
  uint64_t opened_ns = 0;  // CLOCK_REALTIME
  uint64_t mapped = 0;     // bytes of address space
  pid_t pid = 0;           // 0: not visible from here
  uid_t uid = 0;
  bool revoked = false;
  bool loader = false;  // the descriptor that made the model

  Grant() = default;
  explicit Grant(const struct llmos_grant& grant)
      : id(grant.id),
        cgroup(grant.cgroup),
        opened_ns(grant.opened_ns),
        mapped(grant.mapped),
        pid(static_cast<pid_t>(grant.pid)),
        uid(grant.uid),
        revoked(grant.flags & LLMOS_GRANT_REVOKED),
        loader(grant.flags & LLMOS_GRANT_LOADER) {}
};

// Limits, use and features of a store.
struct StoreInfo {
  uint32_t abi = 0;
  uint64_t features = 0;  // LLMOS_FEATURE_*
  uint64_t memory_max = 0;
  uint64_t memory_current = 0;
  uint64_t memory_peak = 0;
  uint64_t page_size = 0;
  uint32_t models = 0;
  int32_t keyring = 0;
  bool signature_required = false;
};

// On which NUMA nodes a model lies.
struct Nodes {
  uint32_t policy = LLMOS_NODES_LOCAL;
  uint64_t mask = 0;

  static Nodes local() { return {}; }  // the caller's first
  static Nodes bind(std::initializer_list<int> nodes) { return {LLMOS_NODES_BIND, mask_of(nodes)}; }  // only these
  static Nodes interleave(std::initializer_list<int> nodes = {}) {  // of all, if empty
    return {LLMOS_NODES_INTERLEAVE, mask_of(nodes)};
  }

 private:
  static uint64_t mask_of(std::initializer_list<int> nodes) {
    uint64_t mask = 0;
    for (int node : nodes) {
      if (node < 0 || node >= LLMOS_NODES_MAX) throw Error(EINVAL, "there is no NUMA node " + std::to_string(node));
      mask |= uint64_t{1} << node;
    }
    return mask;
  }
};

enum class Phase : int { fill = LLMOS_PHASE_FILL, digest = LLMOS_PHASE_DIGEST };

struct Progress {
  Phase phase;
  uint64_t done;   // bytes
  uint64_t total;  // bytes
};

// How a model is made. What is left out has its default.
struct ModelOptions {
  std::string name{};            // empty: the last component of the path
  uint64_t bytes = 0;            // 0: the file's; needed for a stream, and for create()
  std::optional<uid_t> uid{};    // the caller's
  std::optional<gid_t> gid{};    // the caller's
  std::optional<mode_t> mode{};  // the file's read bits, or 0440
  Nodes nodes{};
  unsigned page_shift = 0;  // log2 of the largest page; 0: the largest there is
  bool evictable = false;
  int priority = 0;
  bool replace = false;
  std::vector<std::byte> signature{};               // detached PKCS#7 (DER)
  std::function<bool(const Progress&)> progress{};  // on the calling thread; false cancels
  unsigned threads = 0;                             // 0: the library chooses
};

// From whom a model is taken.
class Subject {
 public:
  static Subject pid(pid_t pid) { return {LLMOS_SUBJECT_PID, pid}; }
  static Subject uid(uid_t uid) { return {LLMOS_SUBJECT_UID, uid}; }
  // All processes in the cgroup of that directory (for example /sys/fs/cgroup/tenant) and below.
  static Subject cgroup(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) throw Error(errno, "cannot open the cgroup \"" + path + "\": " + std::strerror(errno));
    Subject subject(LLMOS_SUBJECT_CGROUP, fd);
    subject.directory_ = std::shared_ptr<void>(nullptr, [fd](void*) { ::close(fd); });
    return subject;
  }

  uint32_t kind() const { return kind_; }
  int64_t value() const { return value_; }

 private:
  Subject(uint32_t kind, int64_t value) : kind_(kind), value_(value) {}

  uint32_t kind_;
  int64_t value_;
  std::shared_ptr<void> directory_;
};

struct Revoked {
  uint64_t grants = 0;      // that this call revoked
  uint64_t busy_bytes = 0;  // pinned for DMA, by anyone: a device may go on reading them
};

struct Node {
  int id = 0;
  unsigned cpus = 0;   // how many
  uint64_t bytes = 0;  // of memory
  uint64_t free = 0;
};

// The NUMA nodes that this process may use; a machine without NUMA has node 0.
inline std::vector<Node> nodes() {
  std::vector<Node> all;
  detail::Callback callback([&](const llmos_node* node) {
    all.push_back({node->id, node->cpus, node->bytes, node->free});
    return true;
  });
  callback.finish(llmos_nodes(callback.invoke<const llmos_node*>, &callback));
  return all;
}

// An open of a model: the grant lasts as long as the object.
class Model {
 public:
  explicit Model(llmos_model* handle) : handle_(handle) {}  // takes ownership

  std::string name() const { return llmos_model_name(handle()); }
  uint64_t size() const { return llmos_model_size(handle()); }
  int fd() const { return llmos_model_fd(handle()); }

  // Mapped on the first call, valid as long as the object. Touching them after a revocation raises SIGBUS; see
  // llmos_model_map().
  std::span<const std::byte> bytes() const {
    const void* data = nullptr;
    detail::check(llmos_model_map(handle(), &data));
    return {static_cast<const std::byte*>(data), static_cast<size_t>(size())};
  }

  // False once the grant was revoked.
  bool alive() const { return detail::check(llmos_model_alive(handle())) == 1; }

  Digest digest() const {
    Digest digest;
    detail::check(llmos_model_digest(handle(), digest.data()));
    return digest;
  }

  ModelInfo stat() const {
    struct llmos_model_stat stat {};
    stat.size = sizeof(stat);
    detail::check(llmos_model_stat(handle(), &stat));
    return ModelInfo(stat);
  }

  // A new dma-buf descriptor, which the caller closes.
  int dmabuf(uint32_t flags = 0) const { return detail::check(llmos_model_dmabuf(handle(), flags)); }

  llmos_model* handle() const { return handle_.get(); }

 private:
  detail::Owned<llmos_model, llmos_model_close> handle_;
};

namespace detail {

using ProgressCallback = Callback<std::function<bool(int, uint64_t, uint64_t)>>;

inline ProgressCallback progress_callback(const ModelOptions& options) {
  return ProgressCallback([tell = options.progress](int phase, uint64_t done, uint64_t total) {
    return tell({static_cast<Phase>(phase), done, total});
  });
}

// Valid as long as `options` and `callback` are.
inline llmos_model_options to_c(const ModelOptions& options, ProgressCallback& callback) {
  llmos_model_options c{};
  c.size = sizeof(c);
  c.name = options.name.empty() ? nullptr : options.name.c_str();
  c.bytes = options.bytes;
  c.flags = (options.uid ? LLMOS_OPTION_UID : 0) | (options.gid ? LLMOS_OPTION_GID : 0) |
            (options.mode ? LLMOS_OPTION_MODE : 0) | (options.evictable ? LLMOS_OPTION_EVICTABLE : 0) |
            (options.replace ? LLMOS_OPTION_REPLACE : 0);
  c.uid = options.uid.value_or(0);
  c.gid = options.gid.value_or(0);
  c.mode = options.mode.value_or(0);
  c.node_policy = options.nodes.policy;
  c.nodes = options.nodes.mask;
  c.page_shift = options.page_shift;
  c.priority = options.priority;
  c.threads = options.threads;
  c.signature = options.signature.data();
  c.signature_size = options.signature.size();
  if (options.progress) {
    c.progress = ProgressCallback::invoke<int, uint64_t, uint64_t>;
    c.context = &callback;
  }
  return c;
}

}  // namespace detail

// A model that is being made of the program's own bytes. Destroyed before seal(), it leaves nothing behind.
class Writer {
 public:
  // From any thread, in any order; bytes never written are zero.
  void write(uint64_t offset, std::span<const std::byte> bytes) {
    detail::check(llmos_writer_write(handle_.get(), offset, bytes.data(), bytes.size()));
  }

  // Digests, names and opens it; all writes must have returned. After a failure it may be tried again.
  Model seal() {
    llmos_model* model = nullptr;
    const int result = llmos_writer_seal(handle_.get(), &model);
    detail::Owned<llmos_model, llmos_model_close> owned(model);
    progress_->finish(result);
    handle_.reset();
    return Model(owned.release());
  }

 private:
  friend class Store;
  Writer(llmos_store* store, const ModelOptions& options)
      : progress_(std::make_unique<detail::ProgressCallback>(detail::progress_callback(options))) {
    const llmos_model_options c = detail::to_c(options, *progress_);
    llmos_writer* writer = nullptr;
    progress_->finish(llmos_store_create(store, &c, &writer));
    handle_.reset(writer);
  }

  std::unique_ptr<detail::ProgressCallback> progress_;  // its address is known to the library
  detail::Owned<llmos_writer, llmos_writer_close> handle_;
};

// Where models are. In the kernel's store they outlive the object; the process's own ends with the last Store or Model.
class Store {
 public:
  explicit Store(StoreKind kind = StoreKind::automatic) {
    llmos_store* store = nullptr;
    detail::check(llmos_store_open(static_cast<int>(kind), &store));
    handle_.reset(store);
  }
  static Store kernel() { return Store(StoreKind::kernel); }
  static Store memory() { return Store(StoreKind::memory); }

  // Where load() puts models: kernel or memory.
  StoreKind kind() const { return static_cast<StoreKind>(detail::check(llmos_store_kind(handle()))); }

  StoreInfo info() const {
    struct llmos_query query {};
    query.size = sizeof(query);
    detail::check(llmos_store_query(handle(), &query));
    return {query.abi,
            query.features,
            query.memory_max,
            query.memory_current,
            query.memory_peak,
            query.page_size,
            query.models,
            query.keyring,
            (query.flags & LLMOS_QUERY_SIGNATURE_REQUIRED) != 0};
  }

  // Puts a file in, or finds that it is there already; see llmos_store_load().
  Model load(const std::string& path, const ModelOptions& options = {}) {
    auto callback = detail::progress_callback(options);
    const llmos_model_options c = detail::to_c(options, callback);
    llmos_model* model = nullptr;
    const int result = llmos_store_load(handle(), path.c_str(), &c, &model);
    detail::Owned<llmos_model, llmos_model_close> owned(model);
    callback.finish(result);
    return Model(owned.release());
  }

  Writer create(const ModelOptions& options) { return Writer(handle(), options); }

  Model open(const std::string& name) const {
    llmos_model* model = nullptr;
    detail::check(llmos_model_open(handle(), name.c_str(), &model));
    return Model(model);
  }

  std::vector<ModelInfo> list() const {
    std::vector<ModelInfo> models;
    detail::Callback callback([&](const struct llmos_model_stat* stat) {
      models.emplace_back(*stat);
      return true;
    });
    callback.finish(llmos_store_list(handle(), callback.invoke<const struct llmos_model_stat*>, &callback));
    return models;
  }

  ModelInfo stat(const std::string& name) const {
    struct llmos_model_stat stat {};
    stat.size = sizeof(stat);
    detail::check(llmos_store_stat(handle(), name.c_str(), &stat));
    return ModelInfo(stat);
  }

  void remove(const std::string& name) { detail::check(llmos_store_remove(handle(), name.c_str())); }
  void evict(const std::string& name) { detail::check(llmos_store_evict(handle(), name.c_str())); }

  // Changes what is given.
  void set(const std::string& name, std::optional<bool> evictable, std::optional<int> priority = {}) {
    struct llmos_model_set set {};
    set.size = sizeof(set);
    detail::put_name(set.name, name);
    if (evictable) set.mask |= LLMOS_SET_EVICTABLE;
    if (evictable.value_or(false)) set.flags |= LLMOS_MODEL_EVICTABLE;
    if (priority) set.mask |= LLMOS_SET_PRIORITY;
    set.priority = priority.value_or(0);
    detail::check(llmos_store_set(handle(), &set));
  }

  // With keep_access the subject loses what it has open and may open the model again.
  Revoked revoke(const std::string& name, const Subject& subject, bool keep_access = false) {
    return change_access(name, subject, keep_access ? LLMOS_REVOKE_KEEP_ACCESS : 0);
  }
  // Gives back the right to open the model.
  void allow(const std::string& name, const Subject& subject) { change_access(name, subject, LLMOS_REVOKE_ALLOW); }

  std::vector<Grant> grants(const std::string& name) const {
    std::vector<Grant> grants;
    detail::Callback callback([&](const struct llmos_grant* grant) {
      grants.emplace_back(*grant);
      return true;
    });
    callback.finish(llmos_store_grants(handle(), name.c_str(), callback.invoke<const struct llmos_grant*>, &callback));
    return grants;
  }

  // Throws EBADMSG when the file has other content than the model; returns the digest of both otherwise.
  Digest verify(const std::string& name, const std::string& path) const { return compare(name, path.c_str()); }
  // The same for the model's bytes as they are in memory now.
  Digest verify(const std::string& name) const { return compare(name, nullptr); }

  llmos_store* handle() const { return handle_.get(); }

 private:
  Revoked change_access(const std::string& name, const Subject& subject, uint32_t flags) {
    struct llmos_model_revoke revoke {};
    revoke.size = sizeof(revoke);
    revoke.flags = flags;
    revoke.subject = subject.kind();
    revoke.value = subject.value();
    detail::put_name(revoke.name, name);
    detail::check(llmos_store_revoke(handle(), &revoke));
    return {revoke.revoked, revoke.busy_bytes};
  }

  Digest compare(const std::string& name, const char* path) const {
    Digest found;
    detail::check(llmos_store_verify(handle(), name.c_str(), path, found.data()));
    return found;
  }

  detail::Owned<llmos_store, llmos_store_close> handle_;
};

}  // namespace llmos

#include "device.hpp"
#include "engine.hpp"
#include "lane.hpp"

#endif  // LLMOS_LLMOS_HPP
