// SPDX-License-Identifier: MIT
// Attention, norm and gates of every set against sums in double precision.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "backend/cpu/blocks.hpp"
#include "backend/cpu/kernels.hpp"

namespace llmos::core {
namespace {

std::vector<float> normal(size_t count, std::mt19937_64& random, float size = 1) {
  std::normal_distribution<float> distribution(0, size);
  std::vector<float> values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

struct Case {
  size_t positions, tokens, heads, head_size, window;
  float soft_cap;
  CacheType type;
};

// Keys and values of one head in pages that lie anywhere, as the cache has them.
class Pages {
 public:
  Pages(const Kernels& kernels, const Case& c, const std::vector<float>& keys, const std::vector<float>& values)
      : bytes_(head_page_bytes(c.type, c.head_size)) {
    const size_t count = (c.positions + page_positions - 1) / page_positions;
    for (size_t i = 0; i < count; i++) memory_.emplace_back(2 * bytes_, std::byte{0xff});  // halves: not numbers
    for (auto& page : memory_) pages_.push_back(page.data());
    for (size_t p = 0; p < c.positions; p++) {
      std::byte* page = pages_[p / page_positions];
      kernels.store_key(&keys[p * c.head_size], c.head_size, c.type, p % page_positions, page);
      kernels.store_value(&values[p * c.head_size], c.head_size, c.type, p % page_positions, page + bytes_);
    }
  }
  std::byte* const* pages() const { return pages_.data(); }
  size_t value_offset() const { return bytes_; }

 private:
  size_t bytes_;
  std::vector<std::vector<std::byte>> memory_;
  std::vector<std::byte*> pages_;
};

std::vector<double> exact(const Case& c, const std::vector<float>& query, const std::vector<float>& keys,
                          const std::vector<float>& values, double scale) {
  std::vector<double> out(query.size());
  for (size_t row = 0; row < c.tokens * c.heads; row++) {
    const size_t position = c.positions - c.tokens + row / c.heads;
    const size_t first = position + 1 > c.window ? position + 1 - c.window : 0;
    double sum = 0;
    for (size_t p = first; p <= position; p++) {
      double score = 0;
      for (size_t d = 0; d < c.head_size; d++)
        score += double{query[row * c.head_size + d]} * keys[p * c.head_size + d];
      score *= scale;
      if (c.soft_cap > 0) score = c.soft_cap * std::tanh(score / c.soft_cap);
      const double weight = std::exp(score);
      sum += weight;
      for (size_t d = 0; d < c.head_size; d++) out[row * c.head_size + d] += weight * values[p * c.head_size + d];
    }
    for (size_t d = 0; d < c.head_size; d++) out[row * c.head_size + d] /= sum;
  }
  return out;
}

void expect_attention(const Kernels& kernels, const Case& c, std::mt19937_64& random) {
  const std::vector<float> keys = normal(c.positions * c.head_size, random);
  const std::vector<float> values = normal(c.positions * c.head_size, random);
  const std::vector<float> query = normal(c.tokens * c.heads * c.head_size, random, 2);
  const Pages pages(kernels, c, keys, values);
  const float scale = 1 / std::sqrt(static_cast<float>(c.head_size));
  std::vector<float> out(query.size(), 12345);
  std::vector<std::byte> scratch(attention_scratch(c.head_size));
  kernels.attend({.query = query.data(),
                  .out = out.data(),
                  .query_stride = c.heads * c.head_size,
                  .out_stride = c.heads * c.head_size,
                  .tokens = c.tokens,
                  .heads = c.heads,
                  .head_size = c.head_size,
                  .position = c.positions - c.tokens,
                  .window = c.window,
                  .scale = scale,
                  .soft_cap = c.soft_cap,
                  .type = c.type,
                  .pages = pages.pages(),
                  .key_offset = 0,
                  .value_offset = pages.value_offset()},
                 scratch.data());
  const std::vector<double> expected = exact(c, query, keys, values, scale);
  const double bound = c.type == CacheType::f16 ? 4e-3 : 1e-1;  // what rounding keys and values costs
  for (size_t i = 0; i < out.size(); i++)
    ASSERT_NEAR(out[i], expected[i], bound)
        << kernels.name << " positions " << c.positions << " tokens " << c.tokens << " heads " << c.heads << " size "
        << c.head_size << " window " << c.window;
}

TEST(Attention, AgreesWithDoublePrecision) {
  std::mt19937_64 random(1);
  for (const Kernels* kernels : usable_kernels())
    for (const auto& [positions, tokens] : std::vector<std::pair<size_t, size_t>>{
             {1, 1}, {2, 2}, {63, 1}, {64, 1}, {65, 3}, {130, 5}, {200, 13}, {300, 1}})
      for (const size_t heads : {1, 2, 3, 4})
        for (const size_t size : {8, 20, 64, 80})
          for (const size_t window : {size_t{1}, size_t{7}, size_t{64}, SIZE_MAX})
            for (const float cap : {0.0f, 3.0f}) {
              if (positions > 130 && size == 20) continue;  // enough
              expect_attention(*kernels, {positions, tokens, heads, size, window, cap, CacheType::f16}, random);
              if (HasFatalFailure()) return;
              if (size % 32) continue;
              expect_attention(*kernels, {positions, tokens, heads, size, window, cap, CacheType::q8_0}, random);
              if (HasFatalFailure()) return;
            }
}

TEST(Norm, AgreesWithDoublePrecision) {
  std::mt19937_64 random(2);
  for (const Kernels* kernels : usable_kernels())
    for (const size_t columns : {1, 3, 8, 17, 64, 100, 1024}) {
      const std::vector<float> x = normal(columns, random, 3), weight = normal(columns, random);
      std::vector<float> out = x;
      kernels->norm(out.data(), weight.data(), columns, 1e-5f, out.data());
      double squares = 0;
      for (const float value : x) squares += double{value} * value;
      const double scale = 1 / std::sqrt(squares / static_cast<double>(columns) + 1e-5);
      for (size_t i = 0; i < columns; i++) EXPECT_NEAR(out[i], x[i] * scale * weight[i], 1e-5) << kernels->name;
    }
}

TEST(Gates, AgreeWithDoublePrecisionOverTheirWholeRange) {
  for (const Kernels* kernels : usable_kernels())
    for (double x = -120; x < 120; x += 0.37) {
      const float in[3] = {static_cast<float>(x), static_cast<float>(x / 10), 0}, up[3] = {2, 3, 5};
      float silu[3], gelu[3], cap[3] = {in[0], in[1], in[2]};
      kernels->gate(in, up, 3, Activation::silu, silu);
      kernels->gate(in, up, 3, Activation::gelu, gelu);
      kernels->soft_cap(cap, 3, 30);
      for (int i = 0; i < 3; i++) {
        const double v = in[i], inner = 0.7978845608 * v * (1 + 0.044715 * v * v);
        EXPECT_NEAR(silu[i], up[i] * v / (1 + std::exp(-v)), 1e-6 + 1e-6 * std::fabs(v * up[i])) << kernels->name << v;
        EXPECT_NEAR(gelu[i], up[i] * 0.5 * v * (1 + std::tanh(inner)), 2e-6 * (1 + std::fabs(v * up[i])))
            << kernels->name << v;
        EXPECT_NEAR(cap[i], 30 * std::tanh(v / 30), 2e-5) << kernels->name << v;
      }
    }
}

TEST(Halves, RoundTripAndRoundToEven) {
  for (uint32_t bits = 0; bits < 65536; bits++) {
    const float value = half_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(value)) continue;
    EXPECT_EQ(float_to_half(value), bits);
  }
  EXPECT_EQ(float_to_half(1 + 0x1p-11f), 0x3c00);      // halfway: to even
  EXPECT_EQ(float_to_half(1 + 3 * 0x1p-11f), 0x3c02);  // halfway: to even, upwards
  EXPECT_EQ(float_to_half(65520), 0x7c00);
  EXPECT_EQ(float_to_half(65519), 0x7bff);
}

}  // namespace
}  // namespace llmos::core
