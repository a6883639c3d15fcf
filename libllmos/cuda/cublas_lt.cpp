// SPDX-License-Identifier: MIT
#include "cuda/cublas_lt.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <mutex>
#include <utility>

#include "system/error.hpp"

namespace llmos::cuda {
namespace {

using core::Failure;

// Newest first, and the driver each needs at least, as cuDriverGetVersion counts.
constexpr std::pair<const char*, int> libraries[] = {{"libcublasLt.so.13", 13000}, {"libcublasLt.so.12", 12000}};

constexpr std::pair<lt::Status, const char*> names[] = {
    {lt::not_initialized, "CUBLAS_STATUS_NOT_INITIALIZED"},   {lt::allocation_failed, "CUBLAS_STATUS_ALLOC_FAILED"},
    {lt::invalid_value, "CUBLAS_STATUS_INVALID_VALUE"},       {lt::arch_mismatch, "CUBLAS_STATUS_ARCH_MISMATCH"},
    {lt::execution_failed, "CUBLAS_STATUS_EXECUTION_FAILED"}, {lt::internal_error, "CUBLAS_STATUS_INTERNAL_ERROR"},
    {lt::not_supported, "CUBLAS_STATUS_NOT_SUPPORTED"},
};

constexpr size_t most_alignment = 256;  // beyond which the library sees no difference

uint32_t alignment_of(const void* address) {
  const auto bits = reinterpret_cast<uintptr_t>(address) | most_alignment;
  return uint32_t{1} << std::countr_zero(bits);
}

int type_of(LibraryProducts::Numbers numbers) {
  switch (numbers) {
    case LibraryProducts::Numbers::f16:
      return lt::type_f16;
    case LibraryProducts::Numbers::bf16:
      return lt::type_bf16;
    case LibraryProducts::Numbers::f32:
      break;
  }
  return lt::type_f32;
}

// Keeps the first of several calls' errors.
class Steps {
 public:
  void operator()(lt::Status status) {
    if (status_ == lt::success) status_ = status;
  }
  lt::Status status() const { return status_; }
  bool failed() const { return status_ != lt::success; }

 private:
  lt::Status status_ = lt::success;
};

}  // namespace

std::string name_of_status(lt::Status status) {
  for (const auto& [number, name] : names)
    if (number == status) return fmt::format("{} ({})", name, status);
  return fmt::format("cuBLAS status {}", status);
}

std::optional<LibraryProducts::Numbers> LibraryProducts::numbers_of(core::TensorType type) {
  switch (type) {
    case core::TensorType::f32:
      return Numbers::f32;
    case core::TensorType::f16:
      return Numbers::f16;
    case core::TensorType::bf16:
      return Numbers::bf16;
    default:
      return std::nullopt;
  }
}

bool CublasLt::open(const char* file) {
  void* const library = dlopen(file, RTLD_LAZY | RTLD_LOCAL);
  if (!library) return false;
  const auto find = [&](auto& function, const char* symbol) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, symbol));
    return function != nullptr;
  };
  bool whole = true;
#define LLMOS_FIND_CALL(name, symbol, parameters) whole = whole && find(name, #symbol);
  LLMOS_CUBLAS_LT_CALLS(LLMOS_FIND_CALL)
#undef LLMOS_FIND_CALL
  int parts[3] = {};
  for (const int part : {lt::property_major, lt::property_minor, lt::property_patch})
    whole = whole && property(part, &parts[part]) == lt::success;
  version_ = fmt::format("{}.{}.{}", parts[0], parts[1], parts[2]);
  if (!whole) dlclose(library);
  return whole;  // never closed then: it registers things of its own
}

const CublasLt* CublasLt::find(int driver_version) {
  static std::mutex mutex;
  static std::unique_ptr<const CublasLt> found;
  const std::lock_guard lock(mutex);
  for (const auto& [file, least_driver] : libraries) {
    if (found) break;
    auto library = std::make_unique<CublasLt>();
    if (driver_version >= least_driver && library->open(file)) found = std::move(library);
  }
  return found.get();
}

std::unique_ptr<LibraryProducts> LibraryProducts::open(Device& device) {
  int version = 0;
  check(device.driver().driver_version(&version), "ask for the driver's version");
  const CublasLt* const library = CublasLt::find(version);
  if (!library) return nullptr;
  const Device::Current current(device);
  lt::Handle handle = nullptr;
  if (library->create(&handle) != lt::success) {
    device.synchronize();  // says whether the context was lost in it
    return nullptr;
  }
  return std::unique_ptr<LibraryProducts>(new LibraryProducts(device, *library, handle));
}

LibraryProducts::~LibraryProducts() {
  try {
    const Device::Current current(device_);
    device_.driver().stream_synchronize(device_.stream());  // it may still be at work
    plans_.clear();
    library_.destroy(handle_);
  } catch (const Failure&) {  // the context is lost, and takes the rest with it
    library_.destroy(handle_);
  }
  if (workspace_) device_.release(workspace_, workspace_bytes_);
}

std::string LibraryProducts::description() const {
  std::string text = "cuBLASLt " + library_.version();
  if (last_refusal_ != lt::success) text += " in part";
  return text;
}

LibraryProducts::Shape LibraryProducts::shape_of(const Product& p) {
  return {.numbers = p.numbers,
          .rows = p.rows,
          .tokens = p.tokens,
          .columns = p.columns,
          .weight_stride = p.weight_stride,
          .x_stride = p.x_stride,
          .out_stride = p.out_stride,
          .weight_alignment = alignment_of(p.weight),
          .x_alignment = alignment_of(p.x),
          .out_alignment = alignment_of(p.out)};
}

// The library counts in columns: rows of ours are its columns, so it multiplies the weight's transpose with columns of
// x, and writes columns of the result.
lt::Status LibraryProducts::describe(const Shape& shape, Plan& plan) const {
  Steps steps;
  const int type = type_of(shape.numbers);
  const auto layout = [&](Owned<lt::Layout>& owned, int of, uint64_t rows, uint64_t columns, uint64_t stride) {
    lt::Layout made = nullptr;
    if (!steps.failed()) steps(library_.layout_create(&made, of, rows, columns, static_cast<int64_t>(stride)));
    owned.reset(made);
  };
  layout(plan.weight, type, shape.columns, shape.rows, shape.weight_stride);
  layout(plan.x, type, shape.columns, shape.tokens, shape.x_stride);
  layout(plan.out, lt::type_f32, shape.rows, shape.tokens, shape.out_stride);
  lt::Description description = nullptr;
  if (!steps.failed()) steps(library_.description_create(&description, lt::compute_f32, lt::type_f32));
  plan.description.reset(description);
  if (!steps.failed())
    steps(library_.description_set(description, lt::describe_transpose_a, &lt::transposed, sizeof lt::transposed));
  return steps.status();
}

lt::Status LibraryProducts::choose(const Shape& shape, Plan& plan) const {
  Steps steps;
  lt::Preference made = nullptr;
  steps(library_.preference_create(&made));
  if (steps.failed()) return steps.status();
  const Owned<lt::Preference> preference(made, library_.preference_destroy);
  const auto set = [&](int attribute, auto value) {
    if (!steps.failed()) steps(library_.preference_set(made, attribute, &value, sizeof value));
  };
  set(lt::prefer_workspace, uint64_t{most_workspace});
  set(lt::prefer_alignment_a, shape.weight_alignment);
  set(lt::prefer_alignment_b, shape.x_alignment);
  set(lt::prefer_alignment_c, shape.out_alignment);
  set(lt::prefer_alignment_d, shape.out_alignment);
  lt::Proposal proposal{};
  int found = 0;
  if (!steps.failed())
    steps(library_.propose(handle_, plan.description.get(), plan.weight.get(), plan.x.get(), plan.out.get(),
                           plan.out.get(), made, 1, &proposal, &found));
  if (!steps.failed()) steps(found == 0 ? lt::not_supported : proposal.state);
  plan.algorithm = proposal.algorithm;
  plan.workspace_bytes = proposal.workspace_bytes;
  return steps.status();
}

// Grows the memory to work in. False: the device or the group's limit has no room for it.
bool LibraryProducts::reserve(size_t bytes) {
  if (bytes <= workspace_bytes_) return true;
  if (workspace_) device_.release(std::exchange(workspace_, 0), std::exchange(workspace_bytes_, 0));
  const size_t rounded = std::bit_ceil(bytes);
  try {
    workspace_ = device_.allocate(rounded);
  } catch (const Failure& failure) {
    if (failure.code() != ENOMEM && failure.code() != EDQUOT && failure.code() != ENOSPC) throw;
    return false;
  }
  workspace_bytes_ = rounded;
  return true;
}

// Where it was more than a refusal, the driver says so.
bool LibraryProducts::refused(lt::Status status) {
  if (status == lt::success) return false;
  last_refusal_ = status;
  device_.synchronize();
  return true;
}

LibraryProducts::Plan& LibraryProducts::plan_for(const Shape& shape) {
  if (const auto found = plans_.find(shape); found != plans_.end()) return found->second;
  if (plans_.size() == most_plans) plans_.clear();
  Plan plan{{nullptr, library_.layout_destroy},
            {nullptr, library_.layout_destroy},
            {nullptr, library_.layout_destroy},
            {nullptr, library_.description_destroy}};
  lt::Status status = describe(shape, plan);
  if (status == lt::success) status = choose(shape, plan);
  plan.usable = !refused(status);
  return plans_.emplace(shape, std::move(plan)).first->second;
}

bool LibraryProducts::multiply(const Product& p) {
  Plan& plan = plan_for(shape_of(p));
  if (!plan.usable) return false;
  const float one = 1, beta = p.add ? 1 : 0;
  lt::Status status = lt::allocation_failed;
  if (reserve(plan.workspace_bytes))
    status = library_.multiply(handle_, plan.description.get(), &one, p.weight, plan.weight.get(), p.x, plan.x.get(),
                               &beta, p.out, plan.out.get(), p.out, plan.out.get(), &plan.algorithm,
                               reinterpret_cast<void*>(workspace_), workspace_bytes_, device_.stream());
  plan.usable = !refused(status);
  return plan.usable;
}

}  // namespace llmos::cuda
