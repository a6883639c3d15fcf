// SPDX-License-Identifier: MIT
// What the forward pass asks of a device. There is one implementation for the CPU; others (CUDA) implement the same
// calls.
//
// Operations are issued in order and may run later: synchronize() waits. Pointers in the structures below point into
// the backend's memory, which the host reads and writes only through the backend. A backend serves one engine, whose
// lock makes sure that one thread at a time calls it. Everything may throw Failure (ENOMEM, EIO).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "backend/types.hpp"
#include "format/tensor.hpp"
#include "text/candidate.hpp"

namespace llmos::core {

using Memory = std::unique_ptr<std::byte[], std::function<void(std::byte*)>>;

// Memory as it is asked for, block by block.
struct Demand {
  size_t bytes = 0, blocks = 0;

  void add(size_t block) {
    bytes += std::max<size_t>(block, 1);
    blocks++;
  }
  Demand& operator+=(const Demand& more) {
    bytes += more.bytes;
    blocks += more.blocks;
    return *this;
  }
};

// Row-major floats in the backend's memory, without gaps.
struct Matrix {
  float* data = nullptr;
  size_t rows = 0, columns = 0;

  float* row(size_t index) const { return data + index * columns; }
  Matrix first_rows(size_t count) const { return {data, count, columns}; }
  // The same floats as rows of another length: heads of a row one below the other.
  Matrix with_columns(size_t width) const { return {data, rows * columns / width, width}; }
};

// One weight of a matrix multiplication, and where its product goes: out = x * weight^T + bias.
struct Product {
  TensorView weight;
  const float* bias;  // nullptr: none
  Matrix out;
};

// Cosines and sines of a batch, one row a token, interleaved: columns = rotated components of a head.
struct RopeAngles {
  Matrix table;
  bool interleaved;  // rotates components (2i, 2i + 1), otherwise (i, i + columns / 2)
};

// How keys and values lie in a page of the cache: every page holds `positions` of all layers of one sequence.
struct CacheLayout {
  CacheType type;
  size_t layers, heads, head_size;  // of keys and values
  size_t positions;                 // in a page
  size_t head_bytes;                // of the keys, and as many of the values, of one head in one page

  size_t page_bytes() const { return layers * heads * 2 * head_bytes; }
  size_t offset(size_t layer, size_t head) const { return (layer * heads + head) * 2 * head_bytes; }
};

// The rows of a batch that belong to one sequence: consecutive rows, consecutive positions.
struct Run {
  size_t first_row, rows;
  size_t position;                    // of the first row
  std::span<std::byte* const> pages;  // page i holds the positions from i * layout.positions
};

// What goes through the layers together, and the rows of it that outputs are computed of.
struct Batch {
  std::span<const int32_t> tokens;
  std::span<const Run> runs;
  std::span<const uint32_t> outputs;
};

// The largest step to come.
struct StepSizes {
  size_t tokens;
  size_t columns;  // of the widest weight
  size_t pages;    // of the cache, of all sequences together
  size_t group;    // heads of the query that share one of the cache
};

struct AttentionOptions {
  size_t heads;  // of the query
  float scale;
  float soft_cap = 0;        // 0: none
  size_t window = SIZE_MAX;  // positions that a token sees, itself included
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string description() const = 0;                 // "CPU, avx512, 2 threads"
  virtual std::string kernel_device() const { return "cpu"; }  // its id where the kernel module lists devices

  virtual Memory allocate(size_t bytes) = 0;  // zeroed, aligned to 64 bytes or more

  // How much more this backend's memory can take; nothing where weights lie in the host's memory. A block of `bytes`
  // takes up to `unit` more.
  struct Room {
    size_t bytes, unit;
  };
  virtual std::optional<Room> room() const { return std::nullopt; }
  // What adopt() takes of it for a weight, and reserve() for steps: in as many blocks, all bytes included.
  virtual size_t weight_bytes(const TensorView& /*weight*/) const { return 0; }
  virtual Demand step_demand(const StepSizes& /*sizes*/) const { return {}; }

  // Weights are to come that lie in these bytes, which outlive the backend.
  virtual void offer(std::span<const std::byte> /*file*/) {}
  // Weights are to come that take so many bytes: one block for all of them. ENOMEM, before anything is copied.
  virtual void expect(size_t /*weight_bytes*/) {}
  // Steps up to these sizes take no more memory from now on.
  virtual void reserve(const StepSizes& /*sizes*/) {}
  // A weight where this backend can use it: on the CPU the very same bytes, which must outlive the backend; elsewhere a
  // copy on the device that the backend keeps, in a layout of its own. Of the result only the backend reads the data.
  virtual TensorView adopt(const TensorView& weight) = 0;
  virtual void upload(const void* host, size_t bytes, void* device) = 0;
  virtual void download(const void* device, size_t bytes, void* host) = 0;  // waits for what was issued before

  // The layout of a cache page for this backend; ENOTSUP when the type cannot hold heads of that size.
  virtual CacheLayout cache_layout(CacheType type, size_t layers, size_t heads, size_t head_size) = 0;

  // Between begin() and end(), on one thread, the device stays awake; only there may operations be issued. end() waits
  // for everything.
  virtual void begin() = 0;
  virtual void synchronize() {}  // waits for what was issued, and fails with what failed in it
  virtual void end() noexcept = 0;

  // Issues what `issue` issues. That is always the same for batches with as many tokens and outputs and of the same
  // `kind`, but for the batch itself and what the caller's memory holds: a backend may record it, and repeat it without
  // asking. `issue` may use the batch's spans only.
  virtual void repeat(const Batch& /*batch*/, size_t /*kind*/, const std::function<void()>& issue) { issue(); }

  virtual void embed(const TensorView& table, std::span<const int32_t> tokens, float scale, Matrix out) = 0;
  virtual void norm(Matrix x, const float* weight, float epsilon, Matrix out) = 0;  // root mean square; out may be x
  virtual void multiply(Matrix x, std::initializer_list<Product> products) = 0;
  // out = activation(x * gate^T) * (x * up^T); `scratch` is as large as `out`.
  virtual void multiply_gated(Matrix x, const TensorView& gate_weight, const TensorView& up, Activation activation,
                              Matrix out, Matrix scratch) {
    multiply(x, {{gate_weight, nullptr, out}, {up, nullptr, scratch}});
    gate(out, scratch, activation);
  }
  virtual void rotate(Matrix x, size_t heads, const RopeAngles& angles) = 0;  // in place; the rest of a head stays
  virtual void store(const CacheLayout& layout, size_t layer, std::span<const Run> runs, Matrix key, Matrix value) = 0;
  virtual void attend(const CacheLayout& layout, size_t layer, std::span<const Run> runs,
                      const AttentionOptions& options, Matrix query, Matrix out) = 0;
  virtual void gate(Matrix x, Matrix up, Activation activation) = 0;              // x = activation(x) * up
  virtual void add(Matrix x, Matrix delta) = 0;                                   // x += delta
  virtual void soft_cap(Matrix x, float cap) = 0;                                 // x = cap * tanh(x / cap)
  virtual void gather(Matrix x, std::span<const uint32_t> rows, Matrix out) = 0;  // out row i = x row rows[i]

  // The best logits of each row, found where they lie, so that not all of them have to be read back; with `rest`, what
  // the others weigh, too. Works in memory of best_bytes(); 0: this backend does not do it. `count` is 1 to most_best.
  static constexpr size_t most_best = core::most_best;
  virtual size_t best_bytes(size_t /*rows*/, size_t /*columns*/) const { return 0; }
  virtual void find_best(Matrix /*logits*/, size_t /*count*/, void* /*room*/, bool /*rest*/ = false) {}
  // What find_best() found, `count` for each row: best first, of equals the lower token. Tokens are -1 behind those
  // whose logit is above -infinity, and all of them in a row with a NaN or +infinity. `rest`, when it was asked for:
  // one number for each row, see BestLogits. Waits.
  virtual void read_best(Matrix /*logits*/, size_t /*count*/, const void* /*room*/, Candidate* /*out*/,
                         double* /*rest*/ = nullptr) {}
};

// Keeps a backend awake for a step.
class Awake {
 public:
  explicit Awake(Backend& backend) : backend_(backend) { backend_.begin(); }
  ~Awake() { backend_.end(); }
  Awake(const Awake&) = delete;
  Awake& operator=(const Awake&) = delete;

 private:
  Backend& backend_;
};

struct BackendOptions {
  std::string device = "cpu";     // or "cuda:0", …
  bool weights_in_place = false;  // of a CUDA device: where its kernels can, they read weights in the host's memory
  unsigned threads = 0;           // 0: one per CPU this process may use
  bool pin = false;               // bind worker threads to CPUs
  std::string kernels;            // of the CPU: "portable", "avx2", "avx512", "amx"; empty: the best this CPU has
  std::span<const std::byte> cuda_image;  // kernels for CUDA devices; empty: those of this build
  bool cublas = true;  // on CUDA devices: prompts through cuBLASLt, where it is installed and the weights are floats
};

// ENOTSUP for a device this build does not know, ENODEV for one that is not there.
std::unique_ptr<Backend> make_backend(const BackendOptions& options);

}  // namespace llmos::core
