// SPDX-License-Identifier: MIT
// Whether every kernel computes what it should: beside the CPU backend, or sums in double precision.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <numeric>
#include <optional>

#include "cuda/exact_attention.hpp"
#include "gpu/gpu_check.hpp"
#include "system/error.hpp"

namespace llmos::test::gpu {
namespace {

using namespace core;

// The largest difference as a share of the largest number.
template <typename Number>
double difference(const std::string& what, double bound, const Floats& found, const std::vector<Number>& expected) {
  double largest = 1e-30, worst = 0;
  for (const Number value : expected) largest = std::max(largest, std::fabs(double{value}));
  for (size_t i = 0; i < expected.size(); i++) {
    const double error = std::fabs(double{found[i]} - expected[i]) / largest;
    require(error <= bound, "{}: number {} is {} and should be {}", what, i, found[i], expected[i]);
    worst = std::max(worst, error);
  }
  return worst;
}

// The same work on the device and on the CPU.
double compare(Bench& b, const std::string& what, double bound, const std::function<Floats(Backend&)>& work) {
  return difference(what, bound, work(*b.device), work(*b.cpu));
}

Found worst_of(double error) {
  return {fmt::format("the largest difference is {:.1e} of the largest number", error), {{"largest_error", error}}};
}

Found embedding(Bench& b) {
  double worst = 0;
  for (const TensorTypeInfo& type : tensor_types) {
    const size_t columns = type.block_elements == 1 ? 300 : 512;
    const Weight table(type.type, 40, columns, b.random);
    const std::vector<int32_t> tokens{0, 39, 7, 7, 31};
    worst = std::max(worst, compare(b, std::string(type.name), 1e-6, [&](Backend& backend) {
                       const Awake awake(backend);
                       const OnDevice out(backend, tokens.size(), columns);
                       const TensorView adopted = backend.adopt(table.view);
                       backend.embed(adopted, tokens, 2.5f, out.matrix);
                       return out.read();
                     }));
  }
  return worst_of(worst);
}

// Every operation on rows, on a matrix of an odd shape and another.
Found rows(Bench& b) {
  const size_t count = 9, heads = 3, head_size = 20, columns = heads * head_size;
  const Floats x = normal(count * columns, b.random, 3), y = normal(count * columns, b.random, 3);
  const Floats angles = normal(count * 16, b.random), weight = normal(columns, b.random);
  const std::vector<uint32_t> chosen{8, 0, 3, 3};
  using Use = std::function<void(Backend&, Matrix, Matrix)>;
  double worst = 0;
  const auto each = [&](const char* what, const Use& use) {
    worst = std::max(worst, compare(b, what, 2e-6, [&](Backend& backend) {
                       const Awake awake(backend);
                       const OnDevice first(backend, count, columns, x), second(backend, count, columns, y);
                       use(backend, first.matrix, second.matrix);
                       return first.read();
                     }));
  };
  for (const bool interleaved : {false, true})
    each("rotation", [&](Backend& backend, Matrix first, Matrix) {
      const OnDevice table(backend, count, 16, angles);
      backend.rotate(first, heads, {table.matrix, interleaved});
      backend.synchronize();
    });
  each("norm", [&](Backend& backend, Matrix first, Matrix second) {
    const OnDevice weights(backend, 1, columns, weight);
    backend.norm(second, weights.matrix.data, 1e-5f, first);
    backend.synchronize();
  });
  for (const Activation activation : {Activation::silu, Activation::gelu})
    each("gate", [&](Backend& backend, Matrix first, Matrix second) { backend.gate(first, second, activation); });
  each("sum", [](Backend& backend, Matrix first, Matrix second) { backend.add(first, second); });
  each("soft cap", [](Backend& backend, Matrix first, Matrix) { backend.soft_cap(first, 2.5f); });
  each("choice of rows", [&](Backend& backend, Matrix first, Matrix second) {
    backend.gather(second, chosen, first.first_rows(chosen.size()));
  });
  return worst_of(worst);
}

// Products of a weight with so many tokens, and gated ones; errors as shares of what the sums are made of.
double products_of(Bench& b, Backend& backend, TensorType type, std::string_view name, size_t tokens) {
  const size_t rows = 70, columns = tensor_type_info(type).block_elements == 1 ? 300 : 768;
  const Weight first(type, rows, columns, b.random), second(type, rows, columns, b.random);
  const Floats x = normal(tokens * columns, b.random), bias = normal(rows, b.random);
  const double bound = tokens < 16 ? 4e-6 : 2e-4;
  const Awake awake(backend);
  const OnDevice in(backend, tokens, columns, x), out(backend, tokens, rows), scratch(backend, tokens, rows);
  const OnDevice biases(backend, 1, rows, bias);
  const TensorView gate = backend.adopt(first.view), up = backend.adopt(second.view);
  backend.multiply(in.matrix, {{gate, biases.matrix.data, out.matrix}});
  const Floats found = out.read();
  double worst = 0;
  for (size_t i = 0; i < found.size(); i++) {
    const auto [sum, size] = exact(first, x, i / rows, i % rows);
    const double expected = sum + bias[i % rows], error = std::fabs(found[i] - expected) / (size + 1);
    require(error < bound, "{}: token {} row {} of {} tokens is {} and should be {}", name, i / rows, i % rows, tokens,
            found[i], expected);
    worst = std::max(worst, error);
  }
  backend.multiply_gated(in.matrix, gate, up, Activation::silu, out.matrix, scratch.matrix);
  const Floats gated = out.read();
  for (size_t i = 0; i < gated.size(); i++) {
    const auto [g, g_size] = exact(first, x, i / rows, i % rows);
    const auto [u, u_size] = exact(second, x, i / rows, i % rows);
    const double factor = g / (1 + std::exp(-g)), error = 1.1 * g_size * std::fabs(u) + u_size * std::fabs(factor);
    require(std::fabs(gated[i] - factor * u) < bound * error + 1e-5,
            "{}, gated: token {} row {} of {} tokens is {} and should be {}", name, i / rows, i % rows, tokens,
            gated[i], factor * u);
  }
  return worst;
}

Found products(Bench& b) {
  double worst = 0;
  for (const TensorTypeInfo& type : tensor_types)
    for (const size_t tokens : {1, 5, 33})  // each goes through kernels of its own
      worst = std::max(worst, products_of(b, *b.device, type.type, type.name, tokens));
  return {fmt::format("the largest error is {:.1e} of a sum's size", worst), {{"largest_error", worst}}};
}

Found library_products(Bench& b) {
  double worst = 0;
  for (const TensorType type : {TensorType::f32, TensorType::f16, TensorType::bf16})
    for (const size_t tokens : {16, 33, 130})
      worst = std::max(worst, products_of(b, *b.library, type, tensor_type_info(type).name, tokens));
  const std::string description = b.library->description();
  const size_t named = description.find("cuBLASLt");
  if (named == description.npos) return {"cuBLASLt is not installed; our own kernels did it"};
  require(description.find("in part") == description.npos, "{}: it refused products", description);
  return {fmt::format("{}: the largest error is {:.1e} of a sum's size", description.substr(named), worst),
          {{"largest_error", worst}}};
}

// Small whole numbers: every sum is exact, so any number in a wrong place shows.
Found layout(Bench& b) {
  const size_t rows = 96, columns = 256, tokens = 80;
  std::uniform_int_distribution<int> small(-8, 8);
  Weight weight(TensorType::f16, rows, columns, b.random);
  for (size_t i = 0; i < rows * columns; i++) {
    weight.floats[i] = static_cast<float>(small(b.random));
    const uint16_t half = float_to_half(weight.floats[i]);
    std::memcpy(weight.bytes.data() + 2 * i, &half, 2);
  }
  Floats x(tokens * columns);
  for (float& value : x) value = static_cast<float>(small(b.random));
  const Awake awake(*b.device);
  const OnDevice in(*b.device, tokens, columns, x), out(*b.device, tokens, rows);
  b.device->multiply(in.matrix, {{b.device->adopt(weight.view), nullptr, out.matrix}});
  const Floats found = out.read();
  for (size_t i = 0; i < found.size(); i++) {
    const double sum = exact(weight, x, i / rows, i % rows).first;
    require(found[i] == sum, "token {} row {} is {} and should be {}", i / rows, i % rows, found[i], sum);
  }
  return {"every sum is exact"};
}

struct AttentionNumbers {
  Floats keys, values, query;
};

// Numbers that both types of cache hold exactly: whole 64ths of 8 bits, the largest in every block of 32.
Floats exact_in_cache(size_t count, std::mt19937_64& random) {
  std::uniform_int_distribution<int> in_8_bits(-127, 127);
  Floats numbers(count);
  for (size_t i = 0; i < count; i++) {
    const int number = in_8_bits(random);
    numbers[i] = static_cast<float>(i % cuda::cache_block ? number : number < 0 ? -127 : 127) / 64;
  }
  return numbers;
}

// Keys and values stored in two steps, and what the tokens of the second see of them.
Floats attend(Backend& backend, const AttentionCase& c, const Stretch& stretch, const AttentionNumbers& numbers) {
  const CacheLayout layout = backend.cache_layout(c.type, 2, c.kv_heads, c.head_size);
  const size_t width = c.kv_heads * c.head_size, before = stretch.positions - stretch.tokens;
  const size_t page_count = (stretch.positions + layout.positions - 1) / layout.positions;
  const Memory pool = backend.allocate(page_count * layout.page_bytes());
  std::vector<std::byte*> pages;
  for (size_t i = page_count; i-- > 0;) pages.push_back(pool.get() + i * layout.page_bytes());
  const Awake awake(backend);
  const OnDevice keys(backend, stretch.positions, width, numbers.keys);
  const OnDevice values(backend, stretch.positions, width, numbers.values);
  const OnDevice in(backend, stretch.tokens, c.heads * c.head_size, numbers.query);
  const OnDevice out(backend, stretch.tokens, c.heads * c.head_size);
  const auto store = [&](size_t first, size_t count) {
    const core::Run run{0, count, first, pages};
    backend.store(layout, 1, {&run, 1}, {keys.matrix.row(first), count, width},
                  {values.matrix.row(first), count, width});
  };
  if (before > 0) store(0, before);
  store(before, stretch.tokens);
  const core::Run run{0, stretch.tokens, before, pages};
  backend.attend(layout, 1, {&run, 1}, {c.heads, c.scale(), c.soft_cap, c.window}, in.matrix, out.matrix);
  return out.read();
}

std::vector<double> exact_attention(const AttentionCase& c, const Stretch& stretch, const AttentionNumbers& numbers) {
  std::vector<double> all;
  for (size_t token = 0; token < stretch.tokens; token++)
    for (size_t head = 0; head < c.heads; head++) {
      const auto one = test::exact_attention(c, stretch, numbers.keys, numbers.values, numbers.query, token, head);
      all.insert(all.end(), one.begin(), one.end());
    }
  return all;
}

// A token and a prompt; heads that share keys; sizes of every model; a window's edge; soft caps. Beside double
// precision only what the kernels round shows, for prompts queries and weights that are halves; the CPU rounds by
// itself, too.
Found attention(Bench& b, CacheType type, double cpu_bound) {
  static constexpr std::pair<AttentionCase, Stretch> cases[] = {
      {{4, 2, 64}, {101, 1}}, {{2, 2, 128, 40}, {71, 1}},  {{4, 1, 256, SIZE_MAX, 20}, {4, 1}},
      {{4, 2, 64}, {70, 70}}, {{2, 1, 128, 40}, {93, 33}}, {{2, 1, 256, SIZE_MAX, 20}, {25, 20}},
      {{3, 1, 96}, {66, 66}}};
  double beside_cpu = 0, beside_exact = 0;
  for (auto [c, stretch] : cases) {
    c.type = type;
    const size_t stored = stretch.positions * c.kv_heads * c.head_size;
    const AttentionNumbers numbers{exact_in_cache(stored, b.random), exact_in_cache(stored, b.random),
                                   normal(stretch.tokens * c.heads * c.head_size, b.random, c.query_size)};
    const std::string what =
        fmt::format("{} of {} tokens, heads of {}", stretch.tokens, stretch.positions, c.head_size);
    const Floats found = attend(*b.device, c, stretch, numbers);
    beside_cpu = std::max(beside_cpu, difference(what, cpu_bound, found, attend(*b.cpu, c, stretch, numbers)));
    beside_exact =
        std::max(beside_exact, difference(what + ", beside double precision", stretch.tokens < 16 ? 1e-5 : 2e-3, found,
                                          exact_attention(c, stretch, numbers)));
  }
  return {fmt::format("the largest difference is {:.1e} of the largest number, {:.1e} beside double precision",
                      beside_cpu, beside_exact),
          {{"largest_error", beside_cpu}, {"largest_error_beside_double", beside_exact}}};
}

Found half_attention(Bench& b) { return attention(b, CacheType::f16, 4e-3); }
Found byte_attention(Bench& b) { return attention(b, CacheType::q8_0, 2e-2); }

// Logits with ties, as a row on the device, and their order.
struct Logits {
  explicit Logits(Bench& b)
      : numbers(normal(b.setting.simulated ? 9000 : 262144, b.random, 5)),
        order(numbers.size()),
        awake(*b.device),
        room(b.device->allocate(b.device->best_bytes(1, numbers.size()))) {
    for (float& logit : numbers) logit = std::round(logit * 64) / 64;
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(order, [&](int32_t one, int32_t two) { return logit(one) > logit(two); });
    row.emplace(*b.device, 1, numbers.size(), numbers);
  }
  double logit(int32_t token) const { return numbers[static_cast<size_t>(token)]; }

  // The best `count`, in order; returns the weight of the others, where it is asked for.
  double find(Bench& b, size_t count, bool rest) const {
    b.device->find_best(row->matrix, count, room.get(), rest);
    std::vector<Candidate> found(count);
    double weight = 0;
    b.device->read_best(row->matrix, count, room.get(), found.data(), rest ? &weight : nullptr);
    for (size_t i = 0; i < count; i++)
      require(found[i].token == order[i], "place {} of {} is {} and should be {}", i, count, found[i].token, order[i]);
    return weight;
  }

  Floats numbers;
  std::vector<int32_t> order;
  Awake awake;
  Memory room;
  std::optional<OnDevice> row;
};

Found best(Bench& b) {
  const Logits logits(b);
  for (const size_t count : {size_t{1}, size_t{40}, Backend::most_best}) logits.find(b, count, false);
  return {fmt::format("1, 40 and {} of {} in order", Backend::most_best, logits.order.size())};
}

// To the error that the sampler reckons with, or draws would not be the CPU's.
Found rest(Bench& b) {
  const Logits logits(b);
  double worst = 0;
  for (const size_t count : {size_t{1}, size_t{40}, Backend::most_best}) {
    double expected = 0;
    for (size_t i = count; i < logits.order.size(); i++)
      expected += std::exp(logits.logit(logits.order[i]) - logits.logit(logits.order[0]));
    const double found = logits.find(b, count, true), error = std::fabs(found - expected) / expected;
    require(error <= rest_error, "all but {} weigh {} and should weigh {}", count, found, expected);
    worst = std::max(worst, error);
  }
  return {fmt::format("the largest error is {:.1e} of the weight; the sampler allows {:.1e}", worst, rest_error),
          {{"largest_error", worst}}};
}

}  // namespace

std::span<const Part> parts_of_numbers() {
  static constexpr Part parts[] = {
      {"embedding", embedding},
      {"operations on rows", rows},
      {"products of every weight type", products},
      {"products by cuBLASLt", library_products},
      {"layout of tensor cores", layout},
      {"attention", half_attention},
      {"attention, 8-bit cache", byte_attention},
      {"best logits", best},
      {"weight of other logits", rest},
  };
  return parts;
}

}  // namespace llmos::test::gpu
