// SPDX-License-Identifier: MIT
// Products of many tokens by NVIDIA's cuBLASLt, where that is installed: found when it is first wanted, as the driver.
#pragma once

#include <atomic>
#include <compare>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>

#include "cuda/cublas_lt_api.hpp"
#include "cuda/device.hpp"
#include "format/tensor.hpp"

namespace llmos::cuda {

// The library's functions. Everything is thread-safe.
class CublasLt : public lt::Calls {
 public:
  // Loads the newest one that a driver of this version runs, once for the process. nullptr: there is none, or it lacks
  // one of the calls; that is tried again by the next call.
  static const CublasLt* find(int driver_version);

  const std::string& version() const { return version_; }  // "13.1.0"

 private:
  bool open(const char* file);
  std::string version_;
};

// One engine's use of it: a handle in the device's context, memory to work in, and what the library proposed for the
// shapes met so far. Not thread-safe, but for description().
//
// What the library refuses, or has no memory for, is left to the caller's own kernels, and not asked for again; what
// loses the context fails as check() does.
class LibraryProducts {
 public:
  static constexpr size_t most_workspace = 32 << 20;  // bytes, charged as they are needed
  static constexpr size_t most_plans = 256;           // shapes remembered

  enum class Numbers : uint8_t { f32, f16, bf16 };  // of both factors; sums and results are floats

  // Quantised weights would have to be written out as halves for the library, for every batch: 4 bytes of traffic a
  // weight more than the kernel needs that unpacks them on their way to the tensor cores. They stay with that one.
  static std::optional<Numbers> numbers_of(core::TensorType type);
  static constexpr size_t bytes_of(Numbers numbers) { return numbers == Numbers::f32 ? 4 : 2; }

  // out = weight * x^T for rows of x, or out += it: token t of the result begins at out + t * out_stride. Strides are
  // in numbers.
  struct Product {
    Numbers numbers;
    bool add;
    size_t rows, tokens, columns;
    const void* weight;
    size_t weight_stride;
    const void* x;
    size_t x_stride;
    float* out;
    size_t out_stride;
  };

  // nullptr: there is no library, or it does not start on this device.
  static std::unique_ptr<LibraryProducts> open(Device& device);
  ~LibraryProducts();
  LibraryProducts(const LibraryProducts&) = delete;
  LibraryProducts& operator=(const LibraryProducts&) = delete;

  bool multiply(const Product& product);  // false: it was not done, and `out` may hold anything

  std::string description() const;  // "cuBLASLt 13.1.0", and whether it refused something

 private:
  // What a plan depends on. Alignments are of addresses; the library chooses by them.
  struct Shape {
    Numbers numbers;
    uint64_t rows, tokens, columns, weight_stride, x_stride, out_stride;
    uint32_t weight_alignment, x_alignment, out_alignment;
    auto operator<=>(const Shape&) const = default;
  };
  template <typename Handle>
  using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, lt::Status (*)(Handle)>;
  struct Plan {
    Owned<lt::Layout> weight, x, out;
    Owned<lt::Description> description;
    lt::Algorithm algorithm{};
    size_t workspace_bytes = 0;
    bool usable = false;
  };

  LibraryProducts(Device& device, const CublasLt& library, lt::Handle handle)
      : device_(device), library_(library), handle_(handle) {}
  static Shape shape_of(const Product& product);
  Plan& plan_for(const Shape& shape);
  lt::Status describe(const Shape& shape, Plan& plan) const;
  lt::Status choose(const Shape& shape, Plan& plan) const;
  bool reserve(size_t bytes);
  bool refused(lt::Status status);

  Device& device_;
  const CublasLt& library_;
  const lt::Handle handle_;
  Address workspace_ = 0;
  size_t workspace_bytes_ = 0;
  std::map<Shape, Plan> plans_;
  std::atomic<lt::Status> last_refusal_ = lt::success;
};

std::string name_of_status(lt::Status status);  // "CUBLAS_STATUS_NOT_SUPPORTED (15)"

}  // namespace llmos::cuda
