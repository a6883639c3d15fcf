// SPDX-License-Identifier: MIT
// The in-process store: sealed memfds with the same calls as the kernel's models, for programs on machines without the
// module. One namespace per process, which lives as long as a store handle does.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <ctime>
#include <map>
#include <mutex>
#include <optional>

#include "store/memory_file.hpp"
#include "store/store.hpp"
#include "system/error.hpp"
#include "system/mapping.hpp"
#include "system/topology.hpp"

namespace llmos::core {
namespace {

uint64_t now_ns() {
  timespec time;
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

[[noreturn]] void unsupported(const char* what) {
  fail(ENOTSUP,
       "{} needs the kernel's store; this one lives in this process (load the llmos module, or see why it is not "
       "used with \"llmosctl doctor\")",
       what);
}

// A sealed model, shared by the namespace and by every handle.
class Sealed {
 public:
  Sealed(std::string name, MemoryFile file) : name_(std::move(name)), file_(std::move(file)), last_close_(now_ns()) {}

  const std::string& name() const { return name_; }
  std::span<const std::byte> bytes() const { return file_.bytes(); }
  int fd() const { return file_.fd(); }

  void opened() { ++handles_; }
  void closed() {
    last_close_ = now_ns();
    --handles_;
  }

  Digest digest() {
    std::lock_guard guard(digest_lock_);
    if (!digest_known_) digest_ = digest_bytes(bytes());
    digest_known_ = true;
    return digest_;
  }

  void set_origin(const FileIdentity& file) {
    std::lock_guard guard(lock_);
    origin_ = file;
  }
  bool came_from(const FileIdentity& file) const {
    std::lock_guard guard(lock_);
    return origin_ == file;
  }

  struct llmos_model_stat stat() const {
    struct llmos_model_stat stat {};
    stat.size = sizeof(stat);
    stat.state = LLMOS_STATE_SEALED;
    stat.bytes = stat.filled = stat.hashed = bytes().size();
    stat.resident = file_.resident();
    stat.huge = file_.huge();
    stat.grants = handles_;
    stat.idle_ns = stat.grants ? 0 : now_ns() - last_close_;
    stat.uid = ::geteuid();
    stat.gid = ::getegid();
    stat.mode = 0400;
    if (digest_known_) std::copy(digest_.begin(), digest_.end(), stat.digest);
    put_name(stat.name, name_);
    return stat;
  }

 private:
  const std::string name_;
  const MemoryFile file_;
  std::atomic<uint32_t> handles_{0};
  std::atomic<uint64_t> last_close_;
  mutable std::mutex lock_;
  std::optional<FileIdentity> origin_;
  std::mutex digest_lock_;
  std::atomic<bool> digest_known_{false};
  Digest digest_{};
};

class MemoryModel final : public Model {
 public:
  explicit MemoryModel(std::shared_ptr<Sealed> sealed) : sealed_(std::move(sealed)) { sealed_->opened(); }
  ~MemoryModel() override { sealed_->closed(); }

  const std::string& name() const override { return sealed_->name(); }
  uint64_t size() const override { return sealed_->bytes().size(); }
  std::span<const std::byte> bytes() override { return sealed_->bytes(); }
  Digest digest() override { return sealed_->digest(); }
  struct llmos_model_stat stat() override {
    return sealed_->stat();
  }
  int fd() const override { return sealed_->fd(); }
  bool alive() override { return true; }
  bool set_origin(const FileIdentity& file) override {
    sealed_->set_origin(file);
    return true;
  }
  bool came_from(const FileIdentity& file) override { return sealed_->came_from(file); }
  int dmabuf(uint32_t) override { unsupported("exporting a dma-buf"); }

 private:
  const std::shared_ptr<Sealed> sealed_;
};

class Namespace {
 public:
  static std::shared_ptr<Namespace> of_process() {
    static std::mutex lock;
    static std::weak_ptr<Namespace> current;
    std::lock_guard guard(lock);
    auto names = current.lock();
    if (!names) current = names = std::make_shared<Namespace>();
    return names;
  }

  void check_free(const std::string& name) const {
    std::lock_guard guard(lock_);
    if (models_.contains(name)) fail_exists(name);
  }

  void add(std::shared_ptr<Sealed> model, bool replace) {
    std::lock_guard guard(lock_);
    auto& place = models_[model->name()];
    if (place && !replace) fail_exists(model->name());
    std::swap(place, model);
  }

  std::shared_ptr<Sealed> find(const std::string& name) const {
    std::lock_guard guard(lock_);
    return find_locked(name);
  }

  void remove(const std::string& name) {
    std::shared_ptr<Sealed> model;  // unmapped, if it must be, after the lock is released
    std::lock_guard guard(lock_);
    model = find_locked(name);
    models_.erase(name);
  }

  std::vector<std::shared_ptr<Sealed>> all() const {
    std::lock_guard guard(lock_);
    std::vector<std::shared_ptr<Sealed>> all;
    for (const auto& [name, model] : models_) all.push_back(model);
    return all;
  }

 private:
  std::shared_ptr<Sealed> find_locked(const std::string& name) const {
    const auto at = models_.find(name);
    if (at == models_.end()) fail(ENOENT, "there is no model \"{}\" in this process: load it first", name);
    return at->second;
  }

  [[noreturn]] static void fail_exists(const std::string& name) {
    fail(EEXIST, "there is a model \"{}\" already: give another name, or replace it", name);
  }

  mutable std::mutex lock_;
  std::map<std::string, std::shared_ptr<Sealed>> models_;
};

class MemoryWriter final : public Writer {
 public:
  MemoryWriter(std::shared_ptr<Namespace> names, const llmos_model_options& options)
      : names_(std::move(names)),
        name_(options.name),
        replace_(options.flags & LLMOS_OPTION_REPLACE),
        size_(options.bytes),
        file_(name_, options) {}

  uint64_t size() const override { return size_; }

  void write(uint64_t offset, std::span<const std::byte> bytes) override {
    if (sealed_) fail(EPERM, "model \"{}\" is sealed: nobody can write to it", name_);
    file_.write(offset, bytes);
    filled_ += bytes.size();
  }

  bool fill(int file, uint64_t offset, uint64_t length) override {
    if (!file_.read_from(file, offset, length)) return false;
    filled_ += length;
    return true;
  }
  uint64_t fill_chunk() const override { return uint64_t{8} << 20; }
  unsigned fill_threads() const override { return 8; }  // each has one read under way: this is the depth of the queue

  uint64_t filled() const override { return filled_; }
  uint64_t hashed() const override { return 0; }  // digested when somebody asks for it

  std::unique_ptr<Model> seal(std::span<const std::byte> signature) override {
    if (!signature.empty()) unsupported("checking a signature");
    if (named_) fail(EPERM, "model \"{}\" is sealed already", name_);
    if (!sealed_) {
      file_.seal();
      sealed_ = std::make_shared<Sealed>(name_, std::move(file_));
    }
    names_->add(sealed_, replace_);
    named_ = true;
    return std::make_unique<MemoryModel>(sealed_);
  }

 private:
  const std::shared_ptr<Namespace> names_;
  const std::string name_;
  const bool replace_;
  const uint64_t size_;
  MemoryFile file_;
  std::shared_ptr<Sealed> sealed_;
  bool named_ = false;
  std::atomic<uint64_t> filled_{0};
};

class MemoryStore final : public Store {
 public:
  int kind() const override { return LLMOS_STORE_MEMORY; }

  struct llmos_query query() override {
    struct llmos_query query {};
    query.size = sizeof(query);
    query.abi = LLMOS_ABI_VERSION;
    query.features = LLMOS_FEATURE_MODELS;
    query.page_size = kHugePage;
    for (const auto& model : names_->all()) {
      ++query.models;
      query.memory_current += model->bytes().size();
    }
    query.memory_max = query.memory_current + available_memory();
    return query;
  }

  std::unique_ptr<Model> open(const std::string& name) override {
    check_name(name);
    return std::make_unique<MemoryModel>(names_->find(name));
  }

  std::unique_ptr<Writer> create(const llmos_model_options& options) override {
    refuse_kernel_options(options);
    check_name(options.name);
    if (!(options.flags & LLMOS_OPTION_REPLACE)) names_->check_free(options.name);
    return std::make_unique<MemoryWriter>(names_, options);
  }

  std::vector<struct llmos_model_stat> list() override {
    std::vector<struct llmos_model_stat> list;
    for (const auto& model : names_->all()) list.push_back(model->stat());
    return list;
  }

  struct llmos_model_stat stat(const std::string& name) override {
    return names_->find(name)->stat();
  }
  void remove(const std::string& name) override { names_->remove(name); }
  void set(const struct llmos_model_set&) override { unsupported("changing how a model is evicted"); }
  void evict(const std::string&) override { unsupported("evicting a model"); }
  void revoke(struct llmos_model_revoke&) override { unsupported("revoking a model"); }
  std::vector<struct llmos_grant> grants(const std::string&) override { unsupported("listing grants"); }

 private:
  static void refuse_kernel_options(const llmos_model_options& options) {
    if (options.flags & (LLMOS_OPTION_UID | LLMOS_OPTION_GID | LLMOS_OPTION_MODE))
      unsupported("giving a model an owner, group or mode");
    if (options.flags & LLMOS_OPTION_EVICTABLE || options.priority) unsupported("evicting a model under pressure");
    if (options.signature_size) unsupported("checking a signature");
  }

  const std::shared_ptr<Namespace> names_ = Namespace::of_process();
};

}  // namespace

std::unique_ptr<Store> open_memory_store() { return std::make_unique<MemoryStore>(); }

}  // namespace llmos::core
