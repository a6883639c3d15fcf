// SPDX-License-Identifier: MIT
// Attention of the CUDA backend over a cache in pages that lie anywhere, against double precision. Simulated.
#pragma once

#include <algorithm>
#include <string>

#include "cuda/exact_attention.hpp"
#include "cuda/operations.hpp"

namespace llmos::test {

class CudaAttention : public Operations {
 protected:
  // Attends for all of the sequences in one batch. Returns the kernels that did it.
  std::vector<std::string> expect_attention(const AttentionCase& c, const std::vector<Stretch>& stretches,
                                            double bound) {
    const core::CacheLayout layout = backend->cache_layout(c.type, 2, c.kv_heads, c.head_size);
    std::vector<Stream> streams;
    for (const Stretch& stretch : stretches) streams.push_back(make_stream(c, stretch));
    const core::Memory pool = lay_out_pages(layout, streams);
    store(layout, streams, false);
    const std::vector<core::Run> runs = store(layout, streams, true);

    Floats query;
    for (const Stream& stream : streams) query.insert(query.end(), stream.query.begin(), stream.query.end());
    const size_t width = c.heads * c.head_size, rows = query.size() / width;
    const auto in = put(rows, width, query), out = put(rows, width);
    backend->synchronize();
    fake_cuda::take_launches();
    backend->attend(layout, 1, runs, {c.heads, c.scale(), c.soft_cap, c.window}, in.matrix, out.matrix);
    const Floats found = out.read();
    const std::vector<std::string> launches = fake_cuda::take_launches();
    for (size_t s = 0; s < streams.size(); s++) {
      compare(c, streams[s], found.data() + runs[s].first_row * width, bound, s);
      if (HasFatalFailure()) break;
    }
    return launches;
  }

  static double bound_of(core::CacheType type) { return type == core::CacheType::f16 ? 4e-3 : 1e-1; }

 private:
  struct Stream {
    Stretch stretch;
    Floats keys, values, query;
    std::vector<std::byte*> pages;
  };

  Stream make_stream(const AttentionCase& c, const Stretch& stretch) {
    const size_t width = c.kv_heads * c.head_size;
    return {stretch,
            normal(stretch.positions * width, random),
            normal(stretch.positions * width, random),
            normal(stretch.tokens * c.heads * c.head_size, random, c.query_size),
            {}};
  }

  // The sequences' pages lie between one another's, the last first. What is not stored is no number.
  core::Memory lay_out_pages(const core::CacheLayout& layout, std::vector<Stream>& streams) {
    size_t most = 0, pages = 0;
    for (const Stream& stream : streams)
      most = std::max(most, (stream.stretch.positions + layout.positions - 1) / layout.positions);
    core::Memory pool = backend->allocate(most * streams.size() * layout.page_bytes());
    const std::vector<std::byte> none(most * streams.size() * layout.page_bytes(), std::byte{0xff});
    backend->upload(none.data(), none.size(), pool.get());
    for (size_t p = 0; p < most; p++)
      for (Stream& stream : streams)
        stream.pages.insert(stream.pages.begin(), pool.get() + pages++ * layout.page_bytes());
    return pool;
  }

  // The positions before the batch, or those in it.
  std::vector<core::Run> store(const core::CacheLayout& layout, const std::vector<Stream>& streams, bool in_batch) {
    const size_t width = layout.heads * layout.head_size;
    Floats keys, values;
    std::vector<core::Run> runs;
    for (const Stream& stream : streams) {
      const size_t before = stream.stretch.positions - stream.stretch.tokens;
      const size_t first = in_batch ? before : 0, end = in_batch ? stream.stretch.positions : before;
      if (first == end) continue;
      runs.push_back({keys.size() / width, end - first, first, stream.pages});
      const auto part = [&](const Floats& all, Floats& to) {
        to.insert(to.end(), all.begin() + static_cast<ptrdiff_t>(first * width),
                  all.begin() + static_cast<ptrdiff_t>(end * width));
      };
      part(stream.keys, keys);
      part(stream.values, values);
    }
    if (runs.empty()) return runs;
    const size_t rows = keys.size() / width;
    backend->store(layout, 1, runs, put(rows, width, keys).matrix, put(rows, width, values).matrix);
    return runs;
  }

  static void compare(const AttentionCase& c, const Stream& stream, const float* found, double bound, size_t sequence) {
    for (size_t t = 0; t < stream.stretch.tokens; t++)
      for (size_t h = 0; h < c.heads; h++) {
        const std::vector<double> expected =
            exact_attention(c, stream.stretch, stream.keys, stream.values, stream.query, t, h);
        for (size_t d = 0; d < c.head_size; d++)
          ASSERT_NEAR(found[(t * c.heads + h) * c.head_size + d], expected[d], bound)
              << "positions " << stream.stretch.positions << " tokens " << stream.stretch.tokens << " heads " << c.heads
              << "/" << c.kv_heads << " size " << c.head_size << " window " << c.window << " cap " << c.soft_cap
              << " type " << static_cast<int>(c.type) << ": sequence " << sequence << " token " << t << " head " << h;
      }
  }
};

}  // namespace llmos::test
