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

constexpr size_t least_note = 1024;          // bytes
constexpr size_t allocation_unit = 2 << 20;  // drivers hand out memory in pieces of so many bytes

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

std::optional<Kernel> tiles_kernel_for(TensorType type) {
  switch (type) {
#define LLMOS_CASE(name, Unit) \
  case TensorType::name:       \
    return Kernel::multiply_tiles_##name;
    LLMOS_CUDA_TILE_TYPES(LLMOS_CASE)
#undef LLMOS_CASE
    default:
      return std::nullopt;
  }
}

Kernel flash_kernel_for(CacheType type, size_t head_size) {
#define LLMOS_CASE(name, Cache, size) \
  if (type == CacheType::name && head_size <= size) return Kernel::flash_##name##_##size;
  LLMOS_CUDA_FLASH_SIZES(LLMOS_CASE, f16, HalfCache)
  LLMOS_CUDA_FLASH_SIZES(LLMOS_CASE, q8_0, ByteCache)
#undef LLMOS_CASE
  fail(ENOTSUP, "there is no CUDA kernel for heads of {} components", head_size);
}

ProductArguments arguments_of(const Product& product) {
  return {.weight = planes_of(product.weight, product.weight.data),
          .bias = product.bias,
          .out = product.out.data,
          .rows = narrow(product.weight.rows()),
          .out_stride = narrow(product.out.columns)};
}

}  // namespace

CudaBackend::CudaBackend(int number, std::span<const std::byte> image, bool cublas, bool weights_in_place)
    : device_(std::make_shared<Device>(number, image)),
      weights_in_place_(weights_in_place),
      staging_(*device_),
      cublas_(cublas) {
  if (weights_in_place_) Registration::check_support(*device_);
}

std::string CudaBackend::description() const {
  return "CUDA, " + device_->name() + (library_ ? ", " + library_->description() : "");
}

Memory CudaBackend::allocate(size_t bytes) {
  bytes = std::max<size_t>(bytes, 1);
  const Address address = device_->allocate(bytes);
  Memory memory(reinterpret_cast<std::byte*>(address),
                [device = device_, bytes](std::byte* place) { device->release(address_of(place), bytes); });
  const Device::Current current(*device_);
  check(device_->driver().fill_async(address, 0, bytes, device_->stream()), "clear memory on the device");
  return memory;
}

std::optional<Backend::Room> CudaBackend::room() const { return Room{device_->memory().free, allocation_unit}; }

size_t CudaBackend::weight_bytes(const TensorView& weight) const {
  return weights_in_place_ && lies_packed(weight) ? 0 : packed_bytes(weight);
}

void CudaBackend::offer(std::span<const std::byte> file) {
  if (weights_in_place_) file_.emplace(device_, file);
}

void CudaBackend::expect(size_t weight_bytes) {
  if (weight_bytes == 0) return;
  weights_.push_back(allocate(weight_bytes));
  expected_ = {weights_.back().get(), weight_bytes};
}

TensorView CudaBackend::adopt(const TensorView& weight) {
  TensorView adopted = weight;
  widest_ = std::max(widest_, weight.columns());
  if (LibraryProducts::numbers_of(weight.type)) find_library();
  if (library_ && weight.type == TensorType::bf16) halves_a_token_ = 2;
  if (file_ && lies_packed(weight)) {
    adopted.data = file_->on_device(weight.data);
    return adopted;
  }
  const Device::Current current(*device_);
  const size_t bytes = packed_bytes(weight);
  if (bytes > expected_.size()) expect(bytes);
  std::byte* const place = expected_.data();
  Address to = address_of(place);
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
  adopted.data = place;
  expected_ = expected_.subspan(bytes);
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

size_t CudaBackend::Note::room_for(size_t bytes) { return std::max(least_note, std::bit_ceil(bytes)); }

void CudaBackend::Note::reserve(CudaBackend& backend, size_t bytes) {
  if (bytes <= room_) return;
  backend.forget_graphs();  // they read where it was
  sent_.clear();
  room_ = 0;
  memory_.reset();
  memory_ = backend.allocate(room_for(bytes));
  room_ = room_for(bytes);
}

const void* CudaBackend::Note::put(CudaBackend& backend, const void* bytes, size_t count) {
  if (count == sent_.size() && std::memcmp(bytes, sent_.data(), count) == 0) return memory_.get();
  if (backend.recording_) fail(EINVAL, "a recorded step used something that is not in its batch");
  sent_.clear();  // until it is sent
  reserve(backend, count);
  backend.staging_.upload(bytes, count, address_of(memory_.get()));
  const auto* first = static_cast<const std::byte*>(bytes);
  sent_.assign(first, first + count);
  return memory_.get();
}

void CudaBackend::each_note(const StepSizes& sizes,
                            const std::function<void(Note CudaBackend::*, size_t bytes)>& use) const {
  use(&CudaBackend::tokens_, sizes.tokens * sizeof(int32_t));
  use(&CudaBackend::rows_, sizes.tokens * sizeof(uint32_t));
  use(&CudaBackend::places_, sizes.tokens * sizeof(RowPlace));
  use(&CudaBackend::pages_, sizes.pages * sizeof(std::byte*));
  const size_t prompts = sizes.tokens / least_tile_tokens;  // each ends with a tile that may not be full
  if (prompts > 0) use(&CudaBackend::tiles_, (sizes.tokens * sizes.group / tile_queries + prompts) * sizeof(QueryTile));
}

Demand CudaBackend::step_demand(const StepSizes& sizes) const {
  Demand demand;
  each_note(sizes, [&](Note CudaBackend::*, size_t bytes) { demand.add(Note::room_for(bytes)); });
  if (sizes.tokens >= least_tile_tokens) demand.add(halves_bytes(sizes.tokens * halves_a_token_, sizes.columns));
  return demand;
}

void CudaBackend::reserve(const StepSizes& sizes) {
  each_note(sizes, [&](Note CudaBackend::*note, size_t bytes) { (this->*note).reserve(*this, bytes); });
  if (sizes.tokens >= least_tile_tokens) reserve_halves(sizes.tokens * halves_a_token_, sizes.columns);
}

// What the kernels read of a batch goes to its place on the device, so that the same launches serve the next one.
void CudaBackend::note(const Batch& batch) {
  tokens_.put(*this, batch.tokens.data(), batch.tokens.size_bytes());
  if (!batch.outputs.empty()) rows_.put(*this, batch.outputs.data(), batch.outputs.size_bytes());
  note_places(batch.runs);
  if (batch.tokens.size() >= least_tile_tokens) reserve_halves(batch.tokens.size() * halves_a_token_, widest_);
}

// Where the driver has no room for a graph, or none of such a kind, the step is issued call by call, now and later.
Graph* CudaBackend::graph_of(const Shape& shape, const std::function<void()>& issue) {
  if (const auto found = graphs_.find(shape); found != graphs_.end()) return found->second.get();
  if (graphs_.size() == most_graphs) forget_graphs();
  std::unique_ptr<Graph> graph;
  recording_ = true;
  try {
    graph = std::make_unique<Graph>(*device_, issue);
  } catch (const GraphRefused&) {
  } catch (...) {
    recording_ = false;
    throw;
  }
  recording_ = false;
  return (graphs_[shape] = std::move(graph)).get();
}

void CudaBackend::repeat(const Batch& batch, size_t kind, const std::function<void()>& issue) {
  note(batch);
  const bool decodes = std::ranges::all_of(batch.runs, [](const Run& run) { return run.rows == 1; });
  Graph* const graph = decodes ? graph_of({batch.tokens.size(), batch.outputs.size(), kind}, issue) : nullptr;
  if (graph)
    graph->launch();
  else
    issue();
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

bool CudaBackend::reserve_halves(size_t rows, size_t columns) {
  const size_t bytes = halves_bytes(rows, columns);
  if (bytes <= halves_bytes_) return true;
  if (recording_) return false;
  forget_graphs();  // they read where they were
  halves_bytes_ = 0;
  halves_.reset();
  halves_ = allocate(bytes);
  halves_bytes_ = bytes;
  return true;
}

// Fills the reserved halves; their scales follow them.
CudaBackend::Halves CudaBackend::halve(Matrix x) {
  const size_t stride = half_stride(x.columns);
  auto* const halves = reinterpret_cast<uint16_t*>(halves_.get());
  auto* const scales = reinterpret_cast<float*>(halves + x.rows * stride);
  const HalveArguments arguments{.x = x.data,
                                 .halves = halves,
                                 .scales = scales,
                                 .columns = narrow(x.columns),
                                 .x_stride = narrow(x.columns),
                                 .half_stride = narrow(stride)};
  device_->launch(Kernel::halve, narrow(x.rows), 1, row_threads, &arguments);
  return {halves, nullptr, scales, stride};
}

// By tensor cores, where there are enough tokens for them and the weights keep their digits as halves.
bool CudaBackend::launch_tiles(Matrix x, TensorType type, const MultiplyArguments& a) {
  const std::optional<Kernel> kernel = tiles_kernel_for(type);
  if (!kernel || x.rows < least_tile_tokens || !reserve_halves(x.rows, x.columns)) return false;
  const Halves halves = halve(x);
  const TilesArguments tiles{
      .multiply = a, .halves = halves.numbers, .scales = halves.scales, .half_stride = narrow(halves.stride)};
  device_->launch(*kernel, narrow(divide_up(a.rows, a.gated ? tile_rows / 2 : tile_rows)),
                  narrow(divide_up(x.rows, tile_tokens)), multiply_threads, &tiles);
  return true;
}

void CudaBackend::launch_multiply(Matrix x, TensorType type, MultiplyArguments& a) {
  a.x = x.data;
  a.columns = a.x_stride = narrow(x.columns);
  a.tokens = narrow(x.rows);
  if (launch_tiles(x, type, a)) return;
  const bool one = a.tokens < 3;
  const size_t warp_rows = (one ? one_token_rows : many_tokens_rows) / (a.gated ? 2 : 1);
  const size_t block_rows = multiply_threads / warp_lanes * warp_rows, tokens = one ? 1 : many_tokens;
  device_->launch(kernel_for(type, one ? Use::multiply_one : Use::multiply_many), narrow(divide_up(a.rows, block_rows)),
                  narrow(divide_up(a.tokens, tokens)), multiply_threads, &a);
}

// Products with weights of one type, in one launch, or by cuBLASLt.
void CudaBackend::multiply_together(Matrix x, std::span<const Product> products) {
  if (multiply_by_library(x, products, std::nullopt)) return;
  MultiplyArguments arguments{};
  for (size_t i = 0; i < products.size(); i++) {
    arguments.products[i] = arguments_of(products[i]);
    arguments.rows += arguments.products[i].rows;
  }
  launch_multiply(x, products[0].weight.type, arguments);
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
  const Product both[] = {{gate_weight, nullptr, out}, {up, nullptr, scratch}};
  if (multiply_by_library(x, both, activation)) return;
  MultiplyArguments arguments{
      .products = {arguments_of({gate_weight, nullptr, out}), arguments_of({up, nullptr, out}), {}},
      .rows = narrow(up.rows()),
      .gated = 1 + static_cast<uint32_t>(activation)};
  launch_multiply(x, up.type, arguments);
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

void CudaBackend::note_places(std::span<const Run> runs) {
  row_places_.clear();
  page_list_.clear();
  for (const Run& run : runs) {
    for (size_t i = 0; i < run.rows; i++) row_places_.push_back({narrow(run.position + i), narrow(page_list_.size())});
    page_list_.insert(page_list_.end(), run.pages.begin(), run.pages.end());
  }
  places_.put(*this, row_places_.data(), row_places_.size() * sizeof(RowPlace));
  pages_.put(*this, page_list_.data(), page_list_.size() * sizeof(std::byte*));
}

CachePlace CudaBackend::place(const CacheLayout& layout, size_t layer, std::span<const Run> runs) {
  note_places(runs);
  return {.rows = static_cast<const RowPlace*>(places_.place()),
          .pages = static_cast<unsigned char* const*>(pages_.place()),
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

// Prompts by tensor cores; rows of sequences that read fewer tokens one by one.
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
  attend_prompts(layout, runs, arguments);
  for (size_t i = 0; i < runs.size();) {
    const size_t first = runs[i].first_row;
    size_t rows = 0;
    for (; i < runs.size() && runs[i].rows < least_tile_tokens && runs[i].first_row == first + rows; i++)
      rows += runs[i].rows;
    if (rows > 0)
      attend_rows(layout, first, rows, arguments);
    else
      i++;  // a prompt
  }
}

void CudaBackend::attend_rows(const CacheLayout& layout, size_t first, size_t rows, AttendArguments arguments) {
  const size_t floats = first * arguments.heads * arguments.head_size;
  arguments.cache.rows += first;
  arguments.query += floats;
  arguments.out += floats;
  device_->launch(layout.type == CacheType::f16 ? Kernel::attend_f16 : Kernel::attend_q8_0, narrow(rows),
                  arguments.heads, attend_threads, &arguments);
}

// The last queries see the most, so their tiles come first.
void CudaBackend::attend_prompts(const CacheLayout& layout, std::span<const Run> runs,
                                 const AttendArguments& arguments) {
  query_tiles_.clear();
  for (const Run& run : runs)
    for (size_t first = 0; run.rows >= least_tile_tokens && first < run.rows * arguments.group; first += tile_queries)
      query_tiles_.push_back({narrow(run.first_row), narrow(run.rows), narrow(first)});
  if (query_tiles_.empty()) return;
  std::ranges::reverse(query_tiles_);
  const void* on_device = tiles_.put(*this, query_tiles_.data(), query_tiles_.size() * sizeof(QueryTile));
  const FlashArguments flash{.attend = arguments, .tiles = static_cast<const QueryTile*>(on_device)};
  device_->launch(flash_kernel_for(layout.type, layout.head_size), narrow(query_tiles_.size()), narrow(layout.heads),
                  attend_threads, &flash);
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

namespace {

size_t parts_of(size_t columns) { return divide_up(columns, best_part); }

// Keys of a row after the first pass; the passes write into two places of that size by turns.
size_t keys_of_row(size_t columns) { return parts_of(columns) * Backend::most_best; }

}  // namespace

// Behind the places of the passes, what is read back when the rest is wanted.
size_t CudaBackend::best_bytes(size_t rows, size_t columns) const {
  return rows * (2 * keys_of_row(columns) + most_best + parts_of(columns)) * sizeof(uint64_t);
}

void CudaBackend::find_best(Matrix logits, size_t count, void* room, bool rest) {
  auto* const places = static_cast<uint64_t*>(room);
  BestArguments arguments{
      .logits = logits.data, .keys = nullptr, .out = places, .columns = narrow(logits.columns), .count = narrow(count)};
  Kernel kernel = Kernel::best_of_logits;
  for (size_t columns = logits.columns, pass = 0;; pass++) {
    arguments.columns = narrow(columns);
    arguments.out = places + pass % 2 * logits.rows * keys_of_row(logits.columns);
    device_->launch(kernel, narrow(parts_of(columns)), narrow(logits.rows), row_threads, &arguments);
    if (parts_of(columns) == 1) break;
    columns = parts_of(columns) * count;
    arguments.keys = arguments.out;
    kernel = Kernel::best_of_keys;
  }
  if (!rest) return;
  uint64_t* const again = places + 2 * logits.rows * keys_of_row(logits.columns);
  const RestArguments weigh{.logits = logits.data,
                            .best = arguments.out,
                            .again = again,
                            .sums = reinterpret_cast<double*>(again + logits.rows * count),
                            .columns = narrow(logits.columns),
                            .count = narrow(count)};
  device_->launch(Kernel::rest_of_logits, narrow(parts_of(logits.columns)), narrow(logits.rows), row_threads, &weigh);
}

void CudaBackend::read_best(Matrix logits, size_t count, const void* room, Candidate* out, double* rest) {
  size_t passes = 1;
  for (size_t columns = logits.columns; parts_of(columns) > 1; columns = parts_of(columns) * count) passes++;
  const size_t offset = (rest ? 2 : (passes - 1) % 2) * logits.rows * keys_of_row(logits.columns);
  const size_t parts = rest ? parts_of(logits.columns) : 0, found = logits.rows * count;
  std::vector<uint64_t> keys(found + logits.rows * parts);
  download(static_cast<const uint64_t*>(room) + offset, keys.size() * sizeof(uint64_t), keys.data());
  for (size_t i = 0; i < found; i++) {
    const uint64_t key = keys[i - i % count] == unsound_key ? impossible_key : keys[i];
    const auto ordered = static_cast<uint32_t>(key >> 32);
    const uint32_t bits = ordered >> 31 ? ordered & 0x7fffffffu : ~ordered;
    out[i] = {std::bit_cast<float>(bits),
              key == impossible_key ? -1 : static_cast<int32_t>(~static_cast<uint32_t>(key))};
  }
  for (size_t row = 0; rest && row < logits.rows; row++) {
    rest[row] = 0;
    for (size_t part = 0; part < parts; part++) rest[row] += std::bit_cast<double>(keys[found + row * parts + part]);
  }
}

std::unique_ptr<Backend> make_cuda_backend(const BackendOptions& options) {
  const std::string_view device = options.device, digits = device.substr(device.find(':') + 1);
  int number = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size() || number < 0)
    fail(EINVAL, "the device '{}' was asked for; CUDA devices are called 'cuda:0', 'cuda:1', …", device);
  return std::make_unique<CudaBackend>(number, options.cuda_image.empty() ? built_in_image() : options.cuda_image,
                                       options.cublas, options.weights_in_place);
}

}  // namespace llmos::core
