// SPDX-License-Identifier: MIT
// A CUDA device as a backend. Weights are packed on their way to the device; operations are kernels on one stream, so
// they run in order, and later than their calls return.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <tuple>
#include <vector>

#include "backend/backend.hpp"
#include "cuda/cublas_lt.hpp"
#include "cuda/device.hpp"
#include "cuda/graph.hpp"
#include "cuda/registration.hpp"
#include "cuda/staging.hpp"

namespace llmos::core {

class CudaBackend final : public Backend {
 public:
  // `cublas`: products of many tokens by cuBLASLt, where it is installed.
  CudaBackend(int number, std::span<const std::byte> image, bool cublas = false, bool weights_in_place = false);

  std::string description() const override;
  std::string kernel_device() const override { return device_->bus_id(); }
  Memory allocate(size_t bytes) override;
  std::optional<Room> room() const override;
  size_t weight_bytes(const TensorView& weight) const override;
  Demand step_demand(const StepSizes& sizes) const override;
  void offer(std::span<const std::byte> file) override;
  void expect(size_t weight_bytes) override;
  void reserve(const StepSizes& sizes) override;
  TensorView adopt(const TensorView& weight) override;
  void upload(const void* host, size_t bytes, void* device) override;
  void download(const void* device, size_t bytes, void* host) override;
  CacheLayout cache_layout(CacheType type, size_t layers, size_t heads, size_t head_size) override;
  void begin() override;
  void synchronize() override { device_->synchronize(); }
  void end() noexcept override;
  void repeat(const Batch& batch, size_t kind, const std::function<void()>& issue) override;

  void embed(const TensorView& table, std::span<const int32_t> tokens, float scale, Matrix out) override;
  void norm(Matrix x, const float* weight, float epsilon, Matrix out) override;
  void multiply(Matrix x, std::initializer_list<Product> products) override;
  void multiply_gated(Matrix x, const TensorView& gate, const TensorView& up, Activation activation, Matrix out,
                      Matrix scratch) override;
  void rotate(Matrix x, size_t heads, const RopeAngles& angles) override;
  void store(const CacheLayout& layout, size_t layer, std::span<const Run> runs, Matrix key, Matrix value) override;
  void attend(const CacheLayout& layout, size_t layer, std::span<const Run> runs, const AttentionOptions& options,
              Matrix query, Matrix out) override;
  void gate(Matrix x, Matrix up, Activation activation) override;
  void add(Matrix x, Matrix delta) override;
  void soft_cap(Matrix x, float cap) override;
  void gather(Matrix x, std::span<const uint32_t> rows, Matrix out) override;

  size_t best_bytes(size_t rows, size_t columns) const override;
  void find_best(Matrix logits, size_t count, void* room, bool rest = false) override;
  void read_best(Matrix logits, size_t count, const void* room, Candidate* out, double* rest = nullptr) override;

 private:
  // Small things that a step tells the kernels: kept on the device, sent again only when they have changed.
  class Note {
   public:
    static size_t room_for(size_t bytes);
    const void* put(CudaBackend& backend, const void* bytes, size_t count);
    void reserve(CudaBackend& backend, size_t bytes);
    const void* place() const { return memory_.get(); }

   private:
    std::vector<std::byte> sent_;
    Memory memory_;
    size_t room_ = 0;
  };

  // The steps of one token a sequence that differ in nothing but their batch: by tokens, outputs and kind.
  using Shape = std::tuple<size_t, size_t, size_t>;
  static constexpr size_t most_graphs = 32;

  static constexpr size_t least_tile_tokens = 16;  // fewer fill too little of a tile

  // Activations in numbers of 16 bits, `stride` apart.
  struct Halves {
    const uint16_t* numbers;
    const uint16_t* rest;  // nullptr: none
    const float* scales;   // nullptr: 1
    size_t stride;
  };
  static constexpr size_t half_stride(size_t columns) {
    return (columns + cuda::tile_columns - 1) / cuda::tile_columns * cuda::tile_columns;
  }

  static constexpr size_t halves_bytes(size_t rows, size_t columns) {  // with their scales
    return rows * (half_stride(columns) * sizeof(uint16_t) + sizeof(float));
  }

  void each_note(const StepSizes& sizes, const std::function<void(Note CudaBackend::*, size_t bytes)>& use) const;
  void note(const Batch& batch);
  cuda::Graph* graph_of(const Shape& shape, const std::function<void()>& issue);
  void forget_graphs() { graphs_.clear(); }

  void multiply_together(Matrix x, std::span<const Product> products);
  void launch_multiply(Matrix x, TensorType type, cuda::MultiplyArguments& arguments);
  bool launch_tiles(Matrix x, TensorType type, const cuda::MultiplyArguments& arguments);
  bool reserve_halves(size_t rows, size_t columns);
  Halves halve(Matrix x);

  // By cuBLASLt (cuda_library.cpp). False: it is not there, or does not do it.
  void find_library();
  bool multiply_by_library(Matrix x, std::span<const Product> products, std::optional<Activation> gated);
  Halves split(Matrix x);
  void finish(const Product& product, const float* scales, const float* up, Activation activation);

  void note_places(std::span<const Run> runs);
  cuda::CachePlace place(const CacheLayout& layout, size_t layer, std::span<const Run> runs);
  void attend_rows(const CacheLayout& layout, size_t first, size_t rows, cuda::AttendArguments arguments);
  void attend_prompts(const CacheLayout& layout, std::span<const Run> runs, const cuda::AttendArguments& arguments);
  void each_element(cuda::Kernel kernel, size_t count, const void* arguments);

  std::shared_ptr<cuda::Device> device_;
  const bool weights_in_place_;
  cuda::Staging staging_;
  std::optional<cuda::Registration> file_;  // that weights are used of in place
  std::vector<Memory> weights_;
  std::span<std::byte> expected_;  // of the last block of weights: not yet used
  size_t widest_ = 0;              // columns of a weight
  bool cublas_;                    // wanted, and not yet looked for
  std::unique_ptr<cuda::LibraryProducts> library_;
  size_t halves_a_token_ = 1;  // rows of halves that a product takes for each token
  Memory halves_;              // activations for tensor cores
  size_t halves_bytes_ = 0;
  Note tokens_, rows_, places_, pages_, tiles_;
  std::vector<cuda::RowPlace> row_places_;
  std::vector<std::byte*> page_list_;
  std::vector<cuda::QueryTile> query_tiles_;
  std::map<Shape, std::unique_ptr<cuda::Graph>> graphs_;  // nullptr: this device does not take such a step as a graph
  bool recording_ = false;
  std::optional<cuda::Device::Current> current_;  // within a step
};

// ENODEV, ENOTSUP: see cuda::Device and cuda::Registration.
std::unique_ptr<Backend> make_cuda_backend(const BackendOptions& options);

}  // namespace llmos::core
