// SPDX-License-Identifier: MIT
#include <fcntl.h>

#include <atomic>

#include "store/digest.hpp"
#include "store_support.hpp"
#include "support/failure.hpp"
#include "system/fd.hpp"

namespace llmos::test {
namespace {

struct Vector {
  size_t size;
  const char* digest;
};

// What "fsverity digest" (fsverity-utils 1.5) says of pattern(size).
constexpr Vector kVectors[] = {
    {0, "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"},
    {1, "b803429503d95915829b29fdbc8bbad142f3abfd11b1cadf5526582e685c0551"},
    {4096, "87a706bdba32be89a173dc11d6a91c08165b4dcfcf743988c94595e82934a41a"},
    {4097, "5c6077f10edc31c27b2a65cbaa199e2cfd36998bf104ccd2f7395eb509682064"},
    {524288, "9613b285b37589320574d16f1447444fb68289259e661f4418dc6374ef3c5b9f"},
    {524289, "355acec90f25617bed6ee0e57380add05b4abb6855b8c7a9224c142cf027a98a"},
    {2097152, "1ac2ef6f5af1e2440ced5833ad46f4c85ff5f7c3c8533c84285e7b3ca05a6a7d"},
    {5243003, "96e2a5e374152ba3a91bae3c7af5ee44ba455326121bb27aa56a67fa64d9ec13"},
    {73400321, "55af61df4c190b3df7e34751877288a193c96ec0a6c481c3529dcf2ed1b3d2fe"},
};

class DigestVector : public testing::TestWithParam<Vector> {};

TEST_P(DigestVector, is_what_fsverity_utils_say) {
  EXPECT_EQ(core::to_hex(core::digest_bytes(pattern(GetParam().size))), GetParam().digest);
}

TEST_P(DigestVector, is_what_the_reference_says) {
  EXPECT_EQ(to_hex(reference_digest(pattern(GetParam().size))), GetParam().digest);
}

INSTANTIATE_TEST_SUITE_P(Digest, DigestVector, testing::ValuesIn(kVectors),
                         [](const auto& info) { return std::to_string(info.param.size); });

TEST(Digest, agrees_with_the_reference_at_every_edge) {
  for (const size_t edge :
       {size_t{4096}, size_t{8192}, size_t{128 * 4096}, size_t{256 * 4096}, size_t{2 * kMiB}, size_t{4 * kMiB}})
    for (const size_t size : {edge - 1, edge, edge + 1}) {
      const Bytes bytes = pattern(size, 3);
      EXPECT_EQ(core::digest_bytes(bytes), reference_digest(bytes)) << size << " bytes";
    }
}

TEST(Digest, does_not_depend_on_the_number_of_threads) {
  const Bytes bytes = pattern(9 * kMiB + 17);
  const auto alone = core::digest_bytes(bytes, 1);
  for (unsigned threads : {2, 3, 16}) EXPECT_EQ(core::digest_bytes(bytes, threads), alone) << threads << " threads";
}

TEST(Digest, of_a_file_is_that_of_its_bytes) {
  const TempDir dir;
  const Bytes bytes = pattern(5 * kMiB + 1234);
  const core::Fd file(::open(dir.write("file", bytes).c_str(), O_RDONLY));
  EXPECT_EQ(core::digest_file(file.get(), bytes.size()), reference_digest(bytes));
}

TEST(Digest, of_a_file_that_became_shorter_fails) {
  const TempDir dir;
  const core::Fd file(::open(dir.write("file", pattern(kMiB)).c_str(), O_RDONLY));
  EXPECT_FAILURE(ENODATA, "became shorter", core::digest_file(file.get(), 3 * kMiB));
}

TEST(Digest, tells_how_far_it_is) {
  std::atomic<uint64_t> most{0};
  core::digest_bytes(pattern(5 * kMiB), 2, [&](uint64_t bytes) {
    for (uint64_t seen = most; bytes > seen && !most.compare_exchange_weak(seen, bytes);) {
    }
  });
  EXPECT_EQ(most, 5 * kMiB);
}

TEST(Digest, stops_when_the_listener_throws) {
  struct Stop {};
  EXPECT_THROW(core::digest_bytes(pattern(64 * kMiB), 2, [](uint64_t) { throw Stop(); }), Stop);
}

}  // namespace
}  // namespace llmos::test
