// SPDX-License-Identifier: MIT
#include "store/readable.hpp"

#include <algorithm>
#include <cerrno>

#include "store/device.hpp"
#include "store/kernel.hpp"
#include "system/error.hpp"

namespace llmos::core {
namespace {

class ReadableStore final : public Store {
 public:
  int kind() const override { return LLMOS_STORE_MEMORY; }
  struct llmos_query query() override { return own_->query(); }

  // A name in the kernel's store is never hidden by one of this process.
  std::unique_ptr<Model> open(const std::string& name) override {
    return in_kernel(name) ? open_kernel_model(name) : own_->open(name);
  }

  std::unique_ptr<Writer> create(const llmos_model_options& options) override {
    if (in_kernel(options.name))
      fail(EEXIST, "there is a model \"{}\" in the kernel's store, and this user may not replace it: give another name",
           options.name);
    return own_->create(options);
  }

  std::vector<struct llmos_model_stat> list() override {
    std::vector<struct llmos_model_stat> models = own_->list();
    for (const std::string& name : kernel_model_names()) models.push_back(stat_kernel_file(name));
    std::sort(models.begin(), models.end(), [](const auto& a, const auto& b) { return std::string(a.name) < b.name; });
    return models;
  }

  struct llmos_model_stat stat(const std::string& name) override {
    return in_kernel(name) ? stat_kernel_file(name) : own_->stat(name);
  }

  void remove(const std::string& name) override {
    if (in_kernel(name)) refuse("remove", name);
    own_->remove(name);
  }
  void set(const struct llmos_model_set& set) override { refuse("change", set.name); }
  void evict(const std::string& name) override { refuse("evict", name); }
  void revoke(struct llmos_model_revoke& revoke) override { refuse("revoke", revoke.name); }
  std::vector<struct llmos_grant> grants(const std::string& name) override { refuse("list the grants of", name); }

 private:
  static bool in_kernel(const std::string& name) {
    try {
      stat_kernel_file(name);
      return true;
    } catch (const Failure& failure) {
      if (failure.code() == ENOENT) return false;
      throw;
    }
  }

  [[noreturn]] static void refuse(const char* what, const std::string& name) {
    fail(EACCES, "cannot {} model \"{}\" without the right to use {}: become a member of the group \"llmos\"", what, name,
         kDevicePath);
  }

  const std::unique_ptr<Store> own_ = open_memory_store();
};

}  // namespace

std::unique_ptr<Store> open_readable_store() { return std::make_unique<ReadableStore>(); }

}  // namespace llmos::core
