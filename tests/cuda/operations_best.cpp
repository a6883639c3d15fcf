// SPDX-License-Identifier: MIT
// The best logits of rows, found on the device, against a full sort on the host.
#include <algorithm>
#include <limits>
#include <numeric>

#include "cuda/operations.hpp"

namespace llmos::core {
namespace {

using test::Floats;

constexpr float infinity = std::numeric_limits<float>::infinity();

class CudaBest : public test::Operations {
 protected:
  std::vector<Candidate> find(size_t rows, size_t columns, const Floats& logits, size_t count) {
    const auto in = put(rows, columns, logits);
    const Memory room = backend->allocate(backend->best_bytes(rows, columns));
    backend->find_best(in.matrix, count, room.get());
    std::vector<Candidate> found(rows * count);
    backend->read_best(in.matrix, count, room.get(), found.data());
    return found;
  }

  void expect_best(size_t rows, size_t columns, const Floats& logits, size_t count) {
    const std::vector<Candidate> found = find(rows, columns, logits, count);
    for (size_t r = 0; r < rows; r++) {
      const float* row = logits.data() + r * columns;
      std::vector<int32_t> order(columns);
      std::iota(order.begin(), order.end(), 0);
      std::erase_if(order, [&](int32_t token) { return row[token] == -infinity; });
      std::ranges::stable_sort(order, [&](int32_t a, int32_t b) { return row[a] > row[b]; });
      for (size_t i = 0; i < count; i++) {
        const Candidate& one = found[r * count + i];
        ASSERT_EQ(one.token, i < order.size() ? order[i] : -1)
            << columns << " best " << count << " row " << r << " " << i;
        if (one.token >= 0) {
          ASSERT_EQ(one.logit, row[one.token]);
        }
      }
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Order, CudaBest, test::every_order(), test::order_name);

TEST_P(CudaBest, AreThoseOfASortForAnyVocabulary) {
  for (const size_t columns : {1, 2, 31, 257, 4095, 4096, 4097, 12289})
    for (const size_t count : {1, 2, 40, 128})
      for (const size_t rows : {1, 3}) {
        if (rows == 3 && columns > 4097) continue;  // enough
        expect_best(rows, columns, test::normal(rows * columns, random, 5), count);
        if (HasFatalFailure()) return;
      }
}

TEST_P(CudaBest, OfEqualLogitsIsTheLowerToken) {
  for (const size_t columns : {7, 300, 9000}) {
    Floats logits = test::normal(columns, random);
    for (float& logit : logits) logit = std::round(logit);  // few different ones, some of them -0
    expect_best(1, columns, logits, 1);
    expect_best(1, columns, logits, 50);
    expect_best(1, columns, Floats(columns, 0.25f), 50);
    expect_best(1, columns, Floats(columns, -1e30f), 3);
  }
}

// The weight of all others, to the error that the sampler reckons with; and the best come back with it unchanged.
TEST_P(CudaBest, TheOthersWeighWhatTheyWeighInDoublePrecision) {
  for (const size_t columns : {1, 100, 4096, 4097, 12289})
    for (const float size : {0.01f, 3.0f, 60.0f})
      for (const size_t count : {1, 40, 128}) {
        const size_t rows = columns > 4096 ? 1 : 2;
        Floats logits = test::normal(rows * columns, random, size);
        if (columns > 1) logits[columns / 2] = -infinity;
        const auto in = put(rows, columns, logits);
        const Memory room = backend->allocate(backend->best_bytes(rows, columns));
        std::vector<Candidate> found(rows * count);
        std::vector<double> rest(rows, -1);
        backend->find_best(in.matrix, count, room.get(), true);
        backend->read_best(in.matrix, count, room.get(), found.data(), rest.data());
        const std::vector<Candidate> alone = find(rows, columns, logits, count);
        for (size_t r = 0; r < rows; r++) {
          const std::span<const float> row(logits.data() + r * columns, columns);
          double expected = 0;
          for (size_t i = 0; i < columns; i++)
            if (std::ranges::find(found.begin() + static_cast<ptrdiff_t>(r * count),
                                  found.begin() + static_cast<ptrdiff_t>((r + 1) * count), static_cast<int32_t>(i),
                                  &Candidate::token) == found.begin() + static_cast<ptrdiff_t>((r + 1) * count))
              expected += std::exp(double{row[i]} - found[r * count].logit);
          ASSERT_NEAR(rest[r], expected, expected * rest_error + 1e-30) << columns << " " << size << " " << count;
          for (size_t i = r * count; i < (r + 1) * count; i++) ASSERT_EQ(found[i].token, alone[i].token);
        }
      }
}

TEST_P(CudaBest, ImpossibleTokensAreNoneAndUnsoundRowsAreLeftToTheHost) {
  Floats logits = test::normal(3 * 5000, random);
  for (size_t i = 0; i < 5000; i++)
    if (i != 77 && i != 4999) logits[i] = -infinity;
  expect_best(3, 5000, logits, 5);
  std::fill_n(logits.begin(), 5000, -infinity);
  expect_best(3, 5000, logits, 5);
  for (const float wrong :
       {infinity, std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN()}) {
    logits[5000 + 4321] = wrong;
    const std::vector<Candidate> found = find(3, 5000, logits, 5);
    EXPECT_EQ(found[5].token, -1);
    EXPECT_NE(found[10].token, -1);
  }
}

}  // namespace
}  // namespace llmos::core
