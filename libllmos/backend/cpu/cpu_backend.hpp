// SPDX-License-Identifier: MIT
// The CPU as a backend: weights are used where they lie, and every operation is finished when its call returns.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backend/backend.hpp"
#include "backend/cpu/kernels.hpp"
#include "system/thread_pool.hpp"

namespace llmos::core {

class CpuBackend final : public Backend {
 public:
  CpuBackend(unsigned threads, bool pin, const Kernels& kernels);

  std::string description() const override;
  Memory allocate(size_t bytes) override;
  TensorView adopt(const TensorView& weight) override { return weight; }
  void upload(const void* host, size_t bytes, void* device) override;
  void download(const void* device, size_t bytes, void* host) override;
  CacheLayout cache_layout(CacheType type, size_t layers, size_t heads, size_t head_size) override;
  void begin() override;
  void end() noexcept override;

  void embed(const TensorView& table, std::span<const int32_t> tokens, float scale, Matrix out) override;
  void norm(Matrix x, const float* weight, float epsilon, Matrix out) override;
  void multiply(Matrix x, std::initializer_list<Product> products) override;
  void rotate(Matrix x, size_t heads, const RopeAngles& angles) override;
  void store(const CacheLayout& layout, size_t layer, std::span<const Run> runs, Matrix key, Matrix value) override;
  void attend(const CacheLayout& layout, size_t layer, std::span<const Run> runs, const AttentionOptions& options,
              Matrix query, Matrix out) override;
  void gate(Matrix x, Matrix up, Activation activation) override;
  void add(Matrix x, Matrix delta) override;
  void soft_cap(Matrix x, float cap) override;
  void gather(Matrix x, std::span<const uint32_t> rows, Matrix out) override;

 private:
  // Calls work(thread, threads) on every thread, or work(0, 1) when `cost`, in floats touched, is not worth a barrier.
  template <typename Work>
  void share(size_t cost, const Work& work);
  // Calls work(i) for every i in [0, count), spread over the threads when there is enough of it: `cost` is about what
  // one call costs, in floats touched.
  template <typename Work>
  void each(size_t count, size_t cost, const Work& work);

  static constexpr size_t forms = static_cast<size_t>(Form::fine_tiles) + 1;
  ActivationRows prepare(Matrix x, std::span<const bool, forms> wanted);
  void reserve_scratch(size_t bytes);
  std::byte* scratch(unsigned thread);

  ThreadPool pool_;
  const Kernels& kernels_;
  std::unique_ptr<ThreadPool::Burst> burst_;
  Memory prepared_;  // the activations of the present multiplication, as its kernels want them
  size_t prepared_bytes_ = 0;
  std::vector<Memory> scratch_;  // one a thread
  size_t scratch_bytes_ = 0;
  std::vector<AttentionTask> tasks_;
};

}  // namespace llmos::core
