// SPDX-License-Identifier: MIT
#include "backend/cpu/cpu_backend.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "backend/cpu/dequantize.hpp"
#include "system/error.hpp"

namespace llmos::core {
namespace {

constexpr size_t worth_sharing = 16 << 10;  // floats: less is done sooner by the caller alone
constexpr size_t row_grain = 32;            // rows of a weight are dealt out in multiples of this
constexpr size_t most_rows_each = 256;      // of a weight that a thread takes at a time
constexpr size_t few_rows = 3;              // up to here a batch is multiplied vector by vector

constexpr size_t round_up(size_t value, size_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

CpuBackend::CpuBackend(unsigned threads, bool pin, const Kernels& kernels) : pool_(threads, pin), kernels_(kernels) {
  scratch_.resize(pool_.size());
}

std::string CpuBackend::description() const {
  return fmt::format("CPU, {}, {} thread{}", kernels_.name, pool_.size(), pool_.size() == 1 ? "" : "s");
}

Memory CpuBackend::allocate(size_t bytes) {
  bytes = std::max<size_t>(bytes, 1);
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) fail(ENOMEM, "no memory for {} bytes of activations or cache", bytes);
  madvise(data, bytes, MADV_HUGEPAGE);  // a wish
  return Memory(static_cast<std::byte*>(data), [bytes](std::byte* memory) { munmap(memory, bytes); });
}

void CpuBackend::upload(const void* host, size_t bytes, void* device) { std::memcpy(device, host, bytes); }
void CpuBackend::download(const void* device, size_t bytes, void* host) { std::memcpy(host, device, bytes); }

CacheLayout CpuBackend::cache_layout(CacheType type, size_t layers, size_t heads, size_t head_size) {
  if (type == CacheType::q8_0 && head_size % quant_block != 0)
    fail(ENOTSUP, "a Q8_0 cache needs heads of a multiple of {} components, this model has {}; use F16", quant_block,
         head_size);
  return {type, layers, heads, head_size, page_positions, head_page_bytes(type, head_size)};
}

void CpuBackend::begin() { burst_ = std::make_unique<ThreadPool::Burst>(pool_); }
void CpuBackend::end() noexcept { burst_.reset(); }

std::byte* CpuBackend::scratch(unsigned thread) { return scratch_[thread].get(); }

void CpuBackend::reserve_scratch(size_t bytes) {
  if (bytes <= scratch_bytes_) return;
  for (Memory& memory : scratch_) memory = allocate(bytes);
  scratch_bytes_ = bytes;
}

template <typename Work>
void CpuBackend::share(size_t cost, const Work& work) {
  if (cost < worth_sharing)
    work(0u, 1u);
  else
    pool_.run([&](unsigned thread) { work(thread, pool_.size()); });
}

template <typename Work>
void CpuBackend::each(size_t count, size_t cost, const Work& work) {
  share(count * cost, [&](unsigned thread, unsigned threads) {
    const Slice part = slice(count, 1, thread, threads);
    for (size_t i = part.first; i < part.last; i++) work(i);
  });
}

void CpuBackend::embed(const TensorView& table, std::span<const int32_t> tokens, float scale, Matrix out) {
  each(tokens.size(), out.columns, [&](size_t i) {
    float* row = out.row(i);
    dequantize(table.type, table.row(static_cast<size_t>(tokens[i])), out.columns, row);
    if (scale != 1.0f)
      for (size_t k = 0; k < out.columns; k++) row[k] *= scale;
  });
}

void CpuBackend::norm(Matrix x, const float* weight, float epsilon, Matrix out) {
  each(x.rows, x.columns, [&](size_t i) { kernels_.norm(x.row(i), weight, x.columns, epsilon, out.row(i)); });
}

// The rows in the forms asked for, in memory that the next call reuses.
ActivationRows CpuBackend::prepare(Matrix x, std::span<const bool, forms> wanted) {
  const auto wants = [&](Form form) { return wanted[static_cast<size_t>(form)]; };
  ActivationRows rows;
  rows.first.values = x.data;
  rows.rows = x.rows;
  rows.columns = rows.value_stride = x.columns;
  rows.quant_stride = round_up(x.columns, 256) + quant_padding;
  rows.scale_stride = round_up(x.columns / quant_block, 8);

  const bool remainder = wants(Form::fine_tiles), tiles = remainder || wants(Form::tiles);
  const size_t groups = tiles ? tile_groups(x.rows) : 0, quantised_rows = wants(Form::quants) ? x.rows : 0;
  const size_t tile_bytes = (remainder ? 2 : 1) * groups * tile_group_elements(x.columns) * sizeof(uint16_t);
  const size_t quant_bytes = quantised_rows * rows.quant_stride;
  const size_t scale_bytes = quantised_rows * rows.scale_stride * sizeof(float);
  const size_t bytes = tile_bytes + 2 * quant_bytes + 4 * scale_bytes;
  if (bytes > prepared_bytes_) {
    prepared_ = allocate(bytes);
    prepared_bytes_ = bytes;
  }
  std::byte* place = prepared_.get();
  const auto next = [&](size_t size) { return std::exchange(place, place + size); };
  rows.tiles = reinterpret_cast<uint16_t*>(next(tile_bytes));
  rows.first.quants = reinterpret_cast<int8_t*>(next(quant_bytes));
  rows.first.split = reinterpret_cast<int8_t*>(next(quant_bytes));
  rows.first.scales = reinterpret_cast<float*>(next(scale_bytes));
  rows.first.scaled_sums = reinterpret_cast<float*>(next(scale_bytes));
  rows.first.sums = reinterpret_cast<int32_t*>(next(2 * scale_bytes));
  each(groups, tile_tokens * x.columns, [&](size_t group) { kernels_.pack(rows, group, remainder); });
  each(quantised_rows, x.columns, [&](size_t i) { kernels_.quantize(rows.row(i), x.columns); });
  return rows;
}

void CpuBackend::multiply(Matrix x, std::initializer_list<Product> products) {
  const bool few = x.rows <= few_rows;
  bool wanted[forms] = {};
  size_t cost = 0;
  for (const Product& product : products) {
    const Form form = few ? plain_form(product.weight.type) : kernels_.matmul_form(product.weight.type);
    wanted[static_cast<size_t>(form)] = true;
    cost += x.rows * product.weight.rows() * x.columns / 4;
  }
  const ActivationRows rows = prepare(x, wanted);
  const auto multiply_rows = [&](const Product& product, MatrixKernel kernel, size_t first, size_t last,
                                 unsigned thread) {
    if (first == last) return;
    kernel(product.weight, rows, first, last, product.out.data, product.out.columns, scratch(thread));
    if (!product.bias) return;
    for (size_t i = 0; i < x.rows; i++)
      for (size_t r = first; r < last; r++) product.out.row(i)[r] += product.bias[r];
  };
  if (few)  // the kernel cuts a thread's part into streams of its own
    return share(cost, [&](unsigned thread, unsigned threads) {
      for (const Product& product : products) {
        const Slice part = slice(product.weight.rows(), row_grain, thread, threads);
        multiply_rows(product, kernels_.matvec, part.first, part.last, thread);
      }
    });

  reserve_scratch(matmul_scratch);
  std::atomic<size_t> next{
      0};  // pieces of all products: whoever is free takes the next, for CPUs are rarely equally fast
  share(cost, [&](unsigned thread, unsigned threads) {
    size_t mine = next.fetch_add(1, std::memory_order_relaxed), passed = 0;
    for (const Product& product : products) {
      const size_t count = product.weight.rows();
      const size_t rows_each = std::clamp(round_up(count / threads / 4, row_grain), row_grain, most_rows_each);
      const size_t pieces = (count + rows_each - 1) / rows_each;
      for (; mine < passed + pieces; mine = next.fetch_add(1, std::memory_order_relaxed)) {
        const size_t first = (mine - passed) * rows_each;
        multiply_rows(product, kernels_.matmul, first, std::min(first + rows_each, count), thread);
      }
      passed += pieces;
    }
  });
}

void CpuBackend::rotate(Matrix x, size_t heads, const RopeAngles& angles) {
  const size_t head_size = x.columns / heads, rotated = angles.table.columns, half = rotated / 2;
  each(x.rows, x.columns, [&](size_t i) {
    const float* table = angles.table.row(i);
    for (size_t h = 0; h < heads; h++) {
      float* head = x.row(i) + h * head_size;
      for (size_t k = 0; k < half; k++) {
        float& a = head[angles.interleaved ? 2 * k : k];
        float& b = head[angles.interleaved ? 2 * k + 1 : k + half];
        const float cosine = table[2 * k], sine = table[2 * k + 1], before = a;
        a = before * cosine - b * sine;
        b = before * sine + b * cosine;
      }
    }
  });
}

void CpuBackend::store(const CacheLayout& layout, size_t layer, std::span<const Run> runs, Matrix key, Matrix value) {
  const size_t size = layout.head_size;
  for (const Run& run : runs)
    each(layout.heads, run.rows * size, [&](size_t head) {
      for (size_t i = 0; i < run.rows; i++) {
        const size_t position = run.position + i, slot = position % page_positions, row = run.first_row + i;
        std::byte* page = run.pages[position / page_positions] + layout.offset(layer, head);
        kernels_.store_key(key.row(row) + head * size, size, layout.type, slot, page);
        kernels_.store_value(value.row(row) + head * size, size, layout.type, slot, page + layout.head_bytes);
      }
    });
}

void CpuBackend::attend(const CacheLayout& layout, size_t layer, std::span<const Run> runs,
                        const AttentionOptions& options, Matrix query, Matrix out) {
  // Query heads that share a key-value head go together, as many tokens at once as fit a task, but not so many that
  // threads stay without work.
  const size_t group = options.heads / layout.heads, size = layout.head_size;
  size_t heads = std::min(group, attention_rows);
  if (query.rows * layout.heads < pool_.size()) heads = std::max<size_t>(1, heads / pool_.size());
  const size_t tokens = attention_rows / heads, parts = (group + heads - 1) / heads;

  tasks_.clear();
  size_t cost = 0;
  for (const Run& run : runs) {
    cost += run.rows * std::min(run.position + run.rows, options.window) * options.heads * size / 4;
    for (size_t first = 0; first < run.rows; first += tokens)
      for (size_t head = 0; head < layout.heads; head++)
        for (size_t part = 0; part < parts; part++) {
          const size_t row = run.first_row + first, column = (head * group + part * heads) * size;
          const size_t key_offset = layout.offset(layer, head);
          tasks_.push_back({.query = query.row(row) + column,
                            .out = out.row(row) + column,
                            .query_stride = query.columns,
                            .out_stride = out.columns,
                            .tokens = std::min(tokens, run.rows - first),
                            .heads = std::min(heads, group - part * heads),
                            .head_size = size,
                            .position = run.position + first,
                            .window = options.window,
                            .scale = options.scale,
                            .soft_cap = options.soft_cap,
                            .type = layout.type,
                            .pages = run.pages.data(),
                            .key_offset = key_offset,
                            .value_offset = key_offset + layout.head_bytes});
        }
  }
  reserve_scratch(attention_scratch(size));
  std::atomic<size_t> next{0};  // later tasks see more positions: whoever is free takes the next
  share(cost, [&](unsigned thread, unsigned) {
    for (size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < tasks_.size();)
      kernels_.attend(tasks_[i], scratch(thread));
  });
}

void CpuBackend::gate(Matrix x, Matrix up, Activation activation) {
  constexpr size_t piece = 1024;
  const size_t count = x.rows * x.columns;
  each((count + piece - 1) / piece, 4 * piece, [&](size_t i) {
    const size_t first = i * piece;
    kernels_.gate(x.data + first, up.data + first, std::min(piece, count - first), activation, x.data + first);
  });
}

void CpuBackend::add(Matrix x, Matrix delta) {
  each(x.rows, x.columns, [&](size_t i) {
    for (size_t k = 0; k < x.columns; k++) x.row(i)[k] += delta.row(i)[k];
  });
}

void CpuBackend::soft_cap(Matrix x, float cap) {
  each(x.rows, 4 * x.columns, [&](size_t i) { kernels_.soft_cap(x.row(i), x.columns, cap); });
}

void CpuBackend::gather(Matrix x, std::span<const uint32_t> rows, Matrix out) {
  for (size_t i = 0; i < rows.size(); i++) std::memcpy(out.row(i), x.row(rows[i]), x.columns * sizeof(float));
}

}  // namespace llmos::core
