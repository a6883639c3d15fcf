// SPDX-License-Identifier: MIT
// The kernel's store: /dev/llmos for commands, /sys/fs/llmos/models for opening.
#include "store/kernel.hpp"

#include <fcntl.h>

#include <cerrno>
#include <optional>

#include "store/device.hpp"
#include "store/kernel_model.hpp"
#include "system/error.hpp"

namespace llmos::core {
namespace {

class KernelWriter final : public Writer {
 public:
  KernelWriter(Fd fd, std::string name, uint64_t size) : fd_(std::move(fd)), name_(std::move(name)), size_(size) {}

  uint64_t size() const override { return size_; }

  void write(uint64_t offset, std::span<const std::byte> bytes) override {
    if (pwrite_all(fd_.get(), bytes, offset) < 0)
      fail_errno(fmt::format("cannot write bytes {} to {} of model \"{}\", which has {}", offset, offset + bytes.size(),
                             name_, size_));
  }

  bool fill(int file, uint64_t offset, uint64_t length) override {
    return model_fill(fd_.get(), name_, file, offset, length);
  }
  // The kernel keeps many requests in flight by itself; a second thread bridges the gap between two chunks.
  uint64_t fill_chunk() const override { return uint64_t{128} << 20; }
  unsigned fill_threads() const override { return 2; }

  uint64_t filled() const override { return model_stat(fd_.get(), name_).filled; }
  uint64_t hashed() const override { return model_stat(fd_.get(), name_).hashed; }

  std::unique_ptr<Model> seal(std::span<const std::byte> signature) override {
    model_seal(fd_.get(), name_, signature);
    // Reopened, not opened by name: somebody may have replaced it already.
    Fd reader(::open(fmt::format("/proc/self/fd/{}", fd_.get()).c_str(), O_RDONLY | O_CLOEXEC));
    if (!reader) fail_errno(fmt::format("model \"{}\" is sealed, but cannot be opened", name_));
    return std::make_unique<KernelModel>(std::move(reader), name_);
  }

 private:
  const Fd fd_;
  const std::string name_;
  const uint64_t size_;
};

// Without the right to use the device (or in a container that has none), models can still be opened, listed and looked
// at.
class KernelStore final : public Store {
 public:
  KernelStore() {
    try {
      device_.emplace();
    } catch (const Failure& failure) {
      if (!models_mounted()) throw;
      refusal_ = failure;
    }
  }

  int kind() const override { return LLMOS_STORE_KERNEL; }
  bool may_load() const override { return device_.has_value(); }
  struct llmos_query query() override {
    return device().query();
  }

  std::unique_ptr<Model> open(const std::string& name) override { return open_kernel_model(name); }

  std::unique_ptr<Writer> create(const llmos_model_options& options) override {
    struct llmos_model_create create {};
    put_name(create.name, options.name);
    create.bytes = options.bytes;
    create.uid = options.flags & LLMOS_OPTION_UID ? options.uid : static_cast<__u32>(-1);
    create.gid = options.flags & LLMOS_OPTION_GID ? options.gid : static_cast<__u32>(-1);
    create.mode = options.mode & 0444;
    create.node_policy = options.node_policy;
    create.nodes = checked_nodes(options);
    create.page_shift = options.page_shift;
    create.priority = options.priority;
    if (options.flags & LLMOS_OPTION_EVICTABLE) create.flags |= LLMOS_MODEL_EVICTABLE;
    if (options.flags & LLMOS_OPTION_REPLACE) create.flags |= LLMOS_CREATE_REPLACE;
    Fd fd = device().create(create);
    return std::make_unique<KernelWriter>(std::move(fd), create.name, create.bytes);
  }

  std::vector<struct llmos_model_stat> list() override {
    std::vector<struct llmos_model_stat> models;
    for (const std::string& name : kernel_model_names()) {
      try {
        models.push_back(stat(name));
      } catch (const Failure& failure) {
        if (failure.code() != ENOENT) throw;  // removed since its name was read
      }
    }
    return models;
  }

  struct llmos_model_stat stat(const std::string& name) override {
    return device_ ? device_->stat(name) : stat_kernel_file(name);
  }
  void remove(const std::string& name) override { device().remove(name); }
  void set(const struct llmos_model_set& set) override { device().set(set); }
  void evict(const std::string& name) override { device().evict(name); }
  void revoke(struct llmos_model_revoke& revoke) override { device().revoke(revoke); }
  std::vector<struct llmos_grant> grants(const std::string& name) override { return device().grants(name); }

 private:
  const Device& device() const {
    if (!device_) throw *refusal_;
    return *device_;
  }

  std::optional<Device> device_;
  std::optional<Failure> refusal_;  // why there is no device
};

}  // namespace

std::unique_ptr<Store> open_kernel_store() { return std::make_unique<KernelStore>(); }

}  // namespace llmos::core
