// SPDX-License-Identifier: MIT
// The key-value cache and attention over it against double precision: shared heads, windows, soft caps, several
// sequences in a batch, pages that lie anywhere.
#include <algorithm>

#include "cuda/operations.hpp"

namespace llmos::core {
namespace {

using test::Floats;

struct Case {
  size_t positions, tokens, heads, kv_heads, head_size, window;
  float soft_cap;
  CacheType type;
};

class CudaAttention : public test::Operations {
 protected:
  // One sequence: its keys and values, stored in two steps, the last `tokens` of them in the batch that attends.
  struct Stream {
    Floats keys, values, query;
    std::vector<std::byte*> pages;
  };

  void expect_attention(const Case& c, size_t sequences) {
    const CacheLayout layout = backend->cache_layout(c.type, 2, c.kv_heads, c.head_size);
    const size_t width = c.kv_heads * c.head_size, page_count = (c.positions + layout.positions - 1) / layout.positions;
    const Memory pool = backend->allocate(sequences * page_count * layout.page_bytes());
    std::vector<Stream> streams(sequences);
    for (size_t s = 0; s < sequences; s++) {
      streams[s].keys = test::normal(c.positions * width, random);
      streams[s].values = test::normal(c.positions * width, random);
      streams[s].query = test::normal(c.tokens * c.heads * c.head_size, random, 2);
      for (size_t p = 0; p < page_count; p++)  // the sequences' pages between one another's, the last first
        streams[s].pages.push_back(pool.get() + ((page_count - 1 - p) * sequences + s) * layout.page_bytes());
    }
    const size_t before = c.positions - c.tokens;
    if (before > 0) store(layout, streams, 0, before);
    const std::vector<core::Run> runs = store(layout, streams, before, c.tokens);

    Floats query;
    for (const Stream& stream : streams) query.insert(query.end(), stream.query.begin(), stream.query.end());
    const size_t rows = sequences * c.tokens;
    const auto in = put(rows, c.heads * c.head_size, query), out = put(rows, c.heads * c.head_size);
    const float scale = 1 / std::sqrt(static_cast<float>(c.head_size));
    backend->attend(layout, 1, runs, {c.heads, scale, c.soft_cap, c.window}, in.matrix, out.matrix);
    const Floats found = out.read();
    const double bound = c.type == CacheType::f16 ? 4e-3 : 1e-1;  // what rounding keys and values costs
    for (size_t s = 0; s < sequences; s++)
      for (size_t t = 0; t < c.tokens; t++)
        for (size_t h = 0; h < c.heads; h++) {
          const std::vector<double> expected = exact(c, streams[s], t, h, scale);
          for (size_t d = 0; d < c.head_size; d++)
            ASSERT_NEAR(found[((s * c.tokens + t) * c.heads + h) * c.head_size + d], expected[d], bound)
                << "positions " << c.positions << " tokens " << c.tokens << " heads " << c.heads << "/" << c.kv_heads
                << " size " << c.head_size << " window " << c.window << " sequence " << s << " token " << t;
        }
  }

 private:
  std::vector<core::Run> store(const CacheLayout& layout, const std::vector<Stream>& streams, size_t first,
                               size_t count) {
    const size_t width = layout.heads * layout.head_size;
    Floats keys, values;
    std::vector<core::Run> runs;
    for (const Stream& stream : streams) {
      runs.push_back({keys.size() / width, count, first, stream.pages});
      const auto part = [&](const Floats& all, Floats& to) {
        to.insert(to.end(), all.begin() + static_cast<ptrdiff_t>(first * width),
                  all.begin() + static_cast<ptrdiff_t>((first + count) * width));
      };
      part(stream.keys, keys);
      part(stream.values, values);
    }
    const size_t rows = streams.size() * count;
    backend->store(layout, 1, runs, put(rows, width, keys).matrix, put(rows, width, values).matrix);
    return runs;
  }

  static std::vector<double> exact(const Case& c, const Stream& stream, size_t token, size_t head, double scale) {
    const size_t width = c.kv_heads * c.head_size, kv = head / (c.heads / c.kv_heads) * c.head_size;
    const size_t position = c.positions - c.tokens + token;
    const size_t first = position + 1 > c.window ? position + 1 - c.window : 0;
    std::vector<double> out(c.head_size);
    double sum = 0;
    for (size_t p = first; p <= position; p++) {
      double score = 0;
      for (size_t d = 0; d < c.head_size; d++)
        score += double{stream.query[(token * c.heads + head) * c.head_size + d]} * stream.keys[p * width + kv + d];
      score *= scale;
      if (c.soft_cap > 0) score = c.soft_cap * std::tanh(score / c.soft_cap);
      const double weight = std::exp(score);
      sum += weight;
      for (size_t d = 0; d < c.head_size; d++) out[d] += weight * stream.values[p * width + kv + d];
    }
    for (double& value : out) value /= sum;
    return out;
  }
};
INSTANTIATE_TEST_SUITE_P(Order, CudaAttention, test::every_order(), test::order_name);

TEST_P(CudaAttention, AgreesWithDoublePrecision) {
  for (const auto& [positions, tokens] :
       std::vector<std::pair<size_t, size_t>>{{1, 1}, {2, 2}, {64, 1}, {65, 3}, {130, 5}})
    for (const auto& [heads, kv_heads] : std::vector<std::pair<size_t, size_t>>{{1, 1}, {4, 2}, {3, 1}})
      for (const size_t size : {8, 20, 64, 80, 256})
        for (const size_t window : {size_t{1}, size_t{7}, size_t{64}, SIZE_MAX}) {
          if (size > 64 && (heads != 4 || positions == 64)) continue;  // enough
          const float cap = window == 7 ? 3.0f : 0.0f;
          expect_attention({positions, tokens, heads, kv_heads, size, window, cap, CacheType::f16}, 1);
          if (HasFatalFailure()) return;
          if (size % 32) continue;
          expect_attention({positions, tokens, heads, kv_heads, size, window, cap, CacheType::q8_0}, 1);
          if (HasFatalFailure()) return;
        }
}

TEST_P(CudaAttention, SequencesOfABatchSeeOnlyTheirOwnPages) {
  for (const size_t tokens : {1, 3}) expect_attention({90, tokens, 4, 2, 32, SIZE_MAX, 0, CacheType::f16}, 3);
}

TEST_P(CudaAttention, HeadsThatDoNotFitAreRefused) {
  EXPECT_ANY_THROW(backend->cache_layout(CacheType::f16, 1, 1, 264));
  EXPECT_ANY_THROW(backend->cache_layout(CacheType::q8_0, 1, 1, 40));
}

}  // namespace
}  // namespace llmos::core
