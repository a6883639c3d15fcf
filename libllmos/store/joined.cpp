// SPDX-License-Identifier: MIT
// The kernel's store for a user who may only read it, joined with one in the process that takes what this user loads.
#include <algorithm>
#include <cerrno>

#include "store/store.hpp"
#include "system/error.hpp"

namespace llmos::core {
namespace {

class JoinedStore final : public Store {
 public:
  explicit JoinedStore(std::unique_ptr<Store> kernel) : kernel_(std::move(kernel)) {}

  int kind() const override { return LLMOS_STORE_MEMORY; }
  struct llmos_query query() override {
    return own_->query();
  }

  std::unique_ptr<Model> open(const std::string& name) override { return holder(name).open(name); }

  std::unique_ptr<Writer> create(const llmos_model_options& options) override {
    if (in_kernel(options.name))
      fail(EEXIST, "there is a model \"{}\" in the kernel's store, which this user may not replace: give another name",
           options.name);
    return own_->create(options);
  }

  std::vector<struct llmos_model_stat> list() override {
    std::vector<struct llmos_model_stat> models = kernel_->list();
    for (const auto& model : own_->list()) models.push_back(model);
    std::sort(models.begin(), models.end(), [](const auto& a, const auto& b) { return std::string(a.name) < b.name; });
    return models;
  }

  struct llmos_model_stat stat(const std::string& name) override {
    return holder(name).stat(name);
  }
  void remove(const std::string& name) override { holder(name).remove(name); }
  void set(const struct llmos_model_set& set) override { holder(set.name).set(set); }
  void evict(const std::string& name) override { holder(name).evict(name); }
  void revoke(struct llmos_model_revoke& revoke) override { holder(revoke.name).revoke(revoke); }
  std::vector<struct llmos_grant> grants(const std::string& name) override { return holder(name).grants(name); }

 private:
  // A name in the kernel's store is never hidden by one of this process.
  Store& holder(const std::string& name) const { return in_kernel(name) ? *kernel_ : *own_; }

  bool in_kernel(const std::string& name) const {
    try {
      kernel_->stat(name);
      return true;
    } catch (const Failure& failure) {
      if (failure.code() == ENOENT) return false;
      throw;
    }
  }

  const std::unique_ptr<Store> kernel_;
  const std::unique_ptr<Store> own_ = open_memory_store();
};

}  // namespace

std::unique_ptr<Store> join_memory_store(std::unique_ptr<Store> kernel) {
  return std::make_unique<JoinedStore>(std::move(kernel));
}

}  // namespace llmos::core
