// SPDX-License-Identifier: MIT
#include "cuda/cuda_backend.hpp"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "cuda/packed.hpp"
#include "system/error.hpp"

namespace llmos::core {

using namespace cuda;

namespace {

Address address_of(const void* memory) { return reinterpret_cast<Address>(memory); }

template <typename Size>
uint32_t narrow(Size size) {
  return static_cast<uint32_t>(size);
}

constexpr size_t divide_up(size_t value, size_t unit) { return (value + unit - 1) / unit; }

enum class Use { embed, multiply_one, multiply_many };

Kernel kernel_for(TensorType type, Use use) {
  const auto of = [&](Kernel first) { return static_cast<Kernel>(static_cast<int>(first) + static_cast<int>(use)); };
  switch (type) {
    case TensorType::f32:
      return of(Kernel::embed_f32);
    case TensorType::f16:
      return of(Kernel::embed_f16);
    case TensorType::bf16:
      return of(Kernel::embed_bf16);
    case TensorType::q4_0:
      return of(Kernel::embed_q4_0);
    case TensorType::q5_0:
      return of(Kernel::embed_q5_0);
    case TensorType::q8_0:
      return of(Kernel::embed_q8_0);
    case TensorType::q4_k:
      return of(Kernel::embed_q4_k);
    case TensorType::q5_k:
      return of(Kernel::embed_q5_k);
    case TensorType::q6_k:
      return of(Kernel::embed_q6_k);
  }
  fail(ENOTSUP, "there are no CUDA kernels for tensors of type {}", static_cast<uint32_t>(type));
}

ProductArguments arguments_of(const Product& product) {
  return {.weight = planes_of(product.weight, product.weight.data),
          .bias = product.bias,
          .out = product.out.data,
          .rows = narrow(product.weight.rows()),
          .out_stride = narrow(product.out.columns)};
}

}  // namespace

CudaBackend::CudaBackend(int number, std::span<const std::byte> image)
    : device_(std::make_shared<Device>(number, image)), staging_(*device_) {}

Memory CudaBackend::allocate(size_t bytes) {
  bytes = std::max<size_t>(bytes, 1);
  const Address address = device_->allocate(bytes);
  Memory memory(reinterpret_cast<std::byte*>(address),
                [device = device_, bytes](std::byte* place) { device->release(address_of(place), bytes); });
  const Device::Current current(*device_);
  check(device_->driver().fill_async(address, 0, bytes, device_->stream()), "clear memory on the device");
  return memory;
}

void CudaBackend::expect(size_t weight_bytes) {
  const Device::Free memory = device_->memory();
  if (weight_bytes > memory.free)
    fail(ENOMEM, "the model's weights take {} bytes and '{}' has {} of its {} bytes free", weight_bytes,
         device_->name(), memory.free, memory.total);
}

TensorView CudaBackend::adopt(const TensorView& weight) {
  const Device::Current current(*device_);
  Memory memory = allocate(packed_bytes(weight));
  Address to = address_of(memory.get());
  std::span<std::byte> filled;  // not sent yet
  const auto send = [&] {
    if (filled.empty()) return;
    staging_.send(filled, to);
    to += filled.size();
  };
  pack(weight, [&](size_t want) {
    send();
    return filled = staging_.room(want);
  });
  send();
  TensorView adopted = weight;
  adopted.data = memory.get();
  weights_.push_back(std::move(memory));
  return adopted;
}

void CudaBackend::upload(const void* host, size_t bytes, void* device) {
  const Device::Current current(*device_);
  staging_.upload(host, bytes, address_of(device));
}

void CudaBackend::download(const void* device, size_t bytes, void* host) {
  const Device::Current current(*device_);
  staging_.download(address_of(device), bytes, host);
}

CacheLayout CudaBackend::cache_layout(CacheType type, size_t layers, size_t heads, size_t head_size) {
  if (head_size > most_head_size)
    fail(ENOTSUP, "the model's heads have {} components; the CUDA backend takes up to {}", head_size, most_head_size);
  if (type == CacheType::q8_0 && head_size % cache_block != 0)
    fail(ENOTSUP, "a Q8_0 cache needs heads of a multiple of {} components, this model has {}; use F16", cache_block,
         head_size);
  const size_t position_bytes = type == CacheType::f16 ? divide_up(head_size, lane_components) * lane_components * 2
                                                       : head_size + head_size / cache_block * 2;
  return {type, layers, heads, head_size, page_positions, page_positions * position_bytes};
}

void CudaBackend::begin() { current_.emplace(*device_); }

void CudaBackend::end() noexcept {
  device_->driver().stream_synchronize(device_->stream());  // what failed, synchronize() or download() has told
  current_.reset();
}

const void* CudaBackend::Note::put(CudaBackend& backend, const void* bytes, size_t count) {
  if (count == sent_.size() && std::memcmp(bytes, sent_.data(), count) == 0) return memory_.get();
  sent_.clear();  // until it is sent
  if (count > room_) {
    memory_ = backend.allocate(std::bit_ceil(count));
    room_ = std::bit_ceil(count);
  }
  backend.staging_.upload(bytes, count, address_of(memory_.get()));
  const auto* first = static_cast<const std::byte*>(bytes);
  sent_.assign(first, first + count);
  return memory_.get();
}

void CudaBackend::embed(const TensorView& table, std::span<const int32_t> tokens, float scale, Matrix out) {
  const void* on_device = tokens_.put(*this, tokens.data(), tokens.size_bytes());
  const EmbedArguments arguments{.table = planes_of(table, table.data),
                                 .tokens = static_cast<const int32_t*>(on_device),
                                 .out = out.data,
                                 .scale = scale,
                                 .columns = narrow(out.columns)};
  device_->launch(kernel_for(table.type, Use::embed), narrow(tokens.size()), 1, row_threads, &arguments);
}

void CudaBackend::norm(Matrix x, const float* weight, float epsilon, Matrix out) {
  const NormArguments arguments{
      .x = x.data, .weight = weight, .out = out.data, .epsilon = epsilon, .columns = narrow(x.columns)};
  const size_t threads = std::min<size_t>(row_threads, divide_up(x.columns, warp_lanes) * warp_lanes);
  device_->launch(Kernel::norm, narrow(x.rows), 1, narrow(threads), &arguments);
}

void CudaBackend::launch_multiply(TensorType type, const MultiplyArguments& a) {
  const bool one = a.tokens < 3;
  const size_t warp_rows = (one ? one_token_rows : many_tokens_rows) / (a.gated ? 2 : 1);
  const size_t block_rows = multiply_threads / warp_lanes * warp_rows, tokens = one ? 1 : many_tokens;
  device_->launch(kernel_for(type, one ? Use::multiply_one : Use::multiply_many), narrow(divide_up(a.rows, block_rows)),
                  narrow(divide_up(a.tokens, tokens)), multiply_threads, &a);
}

// Products with weights of one type, in one launch.
void CudaBackend::multiply_together(Matrix x, std::span<const Product> products) {
  MultiplyArguments arguments{.products = {},
                              .x = x.data,
                              .columns = narrow(x.columns),
                              .tokens = narrow(x.rows),
                              .x_stride = narrow(x.columns)};
  for (size_t i = 0; i < products.size(); i++) {
    arguments.products[i] = arguments_of(products[i]);
    arguments.rows += arguments.products[i].rows;
  }
  launch_multiply(products[0].weight.type, arguments);
}

void CudaBackend::multiply(Matrix x, std::initializer_list<Product> products) {
  std::span<const Product> left(products.begin(), products.size());
  while (!left.empty()) {
    size_t count = 1;
    while (count < std::min<size_t>(left.size(), most_products) && left[count].weight.type == left[0].weight.type)
      count++;
    multiply_together(x, left.first(count));
    left = left.subspan(count);
  }
}

void CudaBackend::multiply_gated(Matrix x, const TensorView& gate_weight, const TensorView& up, Activation activation,
                                 Matrix out, Matrix scratch) {
  if (gate_weight.type != up.type) return Backend::multiply_gated(x, gate_weight, up, activation, out, scratch);
  const MultiplyArguments arguments{
      .products = {arguments_of({gate_weight, nullptr, out}), arguments_of({up, nullptr, out}), {}},
      .x = x.data,
      .columns = narrow(x.columns),
      .tokens = narrow(x.rows),
      .x_stride = narrow(x.columns),
      .rows = narrow(up.rows()),
      .gated = 1 + static_cast<uint32_t>(activation)};
  launch_multiply(up.type, arguments);
}

void CudaBackend::rotate(Matrix x, size_t heads, const RopeAngles& angles) {
  const RotateArguments arguments{.x = x.data,
                                  .angles = angles.table.data,
                                  .heads = narrow(heads),
                                  .head_size = narrow(x.columns / heads),
                                  .pairs = narrow(angles.table.columns / 2),
                                  .interleaved = angles.interleaved};
  device_->launch(Kernel::rotate, narrow(x.rows), 1, row_threads, &arguments);
}

CachePlace CudaBackend::place(const CacheLayout& layout, size_t layer, std::span<const Run> runs) {
  row_places_.clear();
  page_list_.clear();
  for (const Run& run : runs) {
    for (size_t i = 0; i < run.rows; i++) row_places_.push_back({narrow(run.position + i), narrow(page_list_.size())});
    page_list_.insert(page_list_.end(), run.pages.begin(), run.pages.end());
  }
  const void* rows = places_.put(*this, row_places_.data(), row_places_.size() * sizeof(RowPlace));
  const void* pages = pages_.put(*this, page_list_.data(), page_list_.size() * sizeof(std::byte*));
  return {.rows = static_cast<const RowPlace*>(rows),
          .pages = static_cast<unsigned char* const*>(pages),
          .layer_offset = layout.offset(layer, 0),
          .head_bytes = layout.head_bytes};
}

void CudaBackend::store(const CacheLayout& layout, size_t layer, std::span<const Run> runs, Matrix key, Matrix value) {
  const StoreArguments arguments{.cache = place(layout, layer, runs),
                                 .key = key.data,
                                 .value = value.data,
                                 .heads = narrow(layout.heads),
                                 .head_size = narrow(layout.head_size),
                                 .head_stride = narrow(divide_up(layout.head_size, lane_components) * lane_components)};
  device_->launch(layout.type == CacheType::f16 ? Kernel::store_f16 : Kernel::store_q8_0, narrow(key.rows), 2,
                  row_threads, &arguments);
}

void CudaBackend::attend(const CacheLayout& layout, size_t layer, std::span<const Run> runs,
                         const AttentionOptions& options, Matrix query, Matrix out) {
  const size_t pieces = divide_up(layout.head_size, lane_components);
  const AttendArguments arguments{.cache = place(layout, layer, runs),
                                  .query = query.data,
                                  .out = out.data,
                                  .heads = narrow(options.heads),
                                  .group = narrow(options.heads / layout.heads),
                                  .head_size = narrow(layout.head_size),
                                  .head_stride = narrow(pieces * lane_components),
                                  .lanes = narrow(std::bit_ceil(pieces)),
                                  .window = narrow(std::min<size_t>(options.window, UINT32_MAX)),
                                  .scale = options.scale,
                                  .soft_cap = options.soft_cap};
  device_->launch(layout.type == CacheType::f16 ? Kernel::attend_f16 : Kernel::attend_q8_0, narrow(query.rows),
                  narrow(options.heads), attend_threads, &arguments);
}

void CudaBackend::each_element(Kernel kernel, size_t count, const void* arguments) {
  device_->launch(kernel, narrow(divide_up(count, row_threads)), 1, row_threads, arguments);
}

void CudaBackend::gate(Matrix x, Matrix up, Activation activation) {
  const size_t count = x.rows * x.columns;
  const GateArguments arguments{
      .x = x.data, .up = up.data, .count = count, .activation = static_cast<uint32_t>(activation)};
  each_element(Kernel::gate, count, &arguments);
}

void CudaBackend::add(Matrix x, Matrix delta) {
  const size_t count = x.rows * x.columns;
  const AddArguments arguments{.x = x.data, .delta = delta.data, .count = count};
  each_element(Kernel::add, count, &arguments);
}

void CudaBackend::soft_cap(Matrix x, float cap) {
  const size_t count = x.rows * x.columns;
  const SoftCapArguments arguments{.x = x.data, .count = count, .cap = cap};
  each_element(Kernel::soft_cap, count, &arguments);
}

void CudaBackend::gather(Matrix x, std::span<const uint32_t> rows, Matrix out) {
  const void* on_device = rows_.put(*this, rows.data(), rows.size_bytes());
  const GatherArguments arguments{
      .x = x.data, .rows = static_cast<const uint32_t*>(on_device), .out = out.data, .columns = narrow(x.columns)};
  device_->launch(Kernel::gather, narrow(rows.size()), 1, row_threads, &arguments);
}

std::unique_ptr<Backend> make_cuda_backend(std::string_view device, std::span<const std::byte> image) {
  const std::string_view digits = device.substr(device.find(':') + 1);
  int number = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() || number < 0)
    fail(EINVAL, "the device '{}' was asked for; CUDA devices are called 'cuda:0', 'cuda:1', …", device);
  return std::make_unique<CudaBackend>(number, image.empty() ? built_in_image() : image);
}

}  // namespace llmos::core
