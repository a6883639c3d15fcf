// SPDX-License-Identifier: MIT
// A libcublasLt.so.13 for tests, on the fake driver: makes products in double precision when their stream is carried
// out. It believes nothing that it is told: shapes, strides, alignments, the algorithm and the memory to work in are
// checked, and that memory is written over.
#include <atomic>
#include <bit>
#include <cstring>
#include <vector>

#include "backend/cpu/blocks.hpp"
#include "cuda/cublas_lt_api.hpp"
#include "fake_cuda/library.hpp"

namespace llmos::cuda::lt {

struct HandleRecord {};
struct LayoutRecord {
  int type;
  uint64_t rows, columns;
  int64_t stride;
};
struct DescriptionRecord {
  int32_t transpose_a;
};
struct PreferenceRecord {
  uint64_t workspace;
  uint32_t alignments[4];  // of a, b, c and d
};

}  // namespace llmos::cuda::lt

namespace fake_cuda {
namespace {

using namespace llmos::cuda::lt;

std::atomic<size_t> objects;

Status status_of(Result result) {
  switch (result) {
    case llmos::cuda::success:
      return success;
    case llmos::cuda::out_of_memory:
      return allocation_failed;
    case llmos::cuda::invalid_value:
      return invalid_value;
    case llmos::cuda::invalid_context:
    case llmos::cuda::not_initialized:
      return not_initialized;
    case 801:  // CUDA_ERROR_NOT_SUPPORTED
      return not_supported;
    default:
      return execution_failed;
  }
}

template <typename Record>
Status make(Record** made, const Record& record) {
  objects++;
  *made = new Record(record);
  return success;
}

template <typename Record>
Status destroy(const char* function, Record* record) {
  const Status status = status_of(begin_library_call(function, LibraryCall::ends));
  if (!record) return invalid_value;
  objects--;
  delete record;
  return status;
}

size_t bytes_of(int type) { return type == type_f32 ? 4 : 2; }

size_t extent(const LayoutRecord& l) {
  return (static_cast<size_t>(l.stride) * (l.columns - 1) + l.rows) * bytes_of(l.type);
}

bool sound(const LayoutRecord& l) { return l.rows > 0 && l.columns > 0 && l.stride >= static_cast<int64_t>(l.rows); }

// d (m x n) = a^T (k x m) times b (k x n), all by columns: the one kind of product this library makes.
bool fits(const DescriptionRecord& what, const LayoutRecord& a, const LayoutRecord& b, const LayoutRecord& c,
          const LayoutRecord& d) {
  const bool floats = a.type == type_f32 || a.type == type_f16 || a.type == type_bf16;
  return what.transpose_a == transposed && sound(a) && sound(b) && sound(c) && sound(d) && floats && a.type == b.type &&
         c.type == type_f32 && d.type == type_f32 && a.rows == b.rows && a.columns == d.rows &&
         b.columns == d.columns && c.rows == d.rows && c.columns == d.columns;
}

constexpr uint64_t mark = 0x6c7466616b65;

Algorithm algorithm_for(const LayoutRecord& a, const LayoutRecord& b, const uint32_t (&alignments)[4],
                        size_t workspace) {
  const auto packed = [&](int i) { return uint64_t{alignments[i]} << 32 | alignments[i + 1]; };
  return {{mark, a.rows, a.columns, b.columns, packed(0), packed(2), workspace, static_cast<uint64_t>(a.type)}};
}

bool aligned(const void* address, uint64_t alignment) {
  return reinterpret_cast<uintptr_t>(address) % static_cast<uint32_t>(alignment) == 0;
}

float number(int type, const unsigned char* at) {
  uint16_t bits;
  if (type == type_f32) {
    float value;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  std::memcpy(&bits, at, sizeof bits);
  return type == type_f16 ? llmos::core::half_to_float(bits) : std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

std::vector<float> numbers(const LayoutRecord& l, const void* from) {
  std::vector<float> all;
  const auto* bytes = static_cast<const unsigned char*>(from);
  for (uint64_t column = 0; column < l.columns; column++)
    for (uint64_t row = 0; row < l.rows; row++)
      all.push_back(number(l.type, bytes + (column * static_cast<uint64_t>(l.stride) + row) * bytes_of(l.type)));
  return all;
}

void product(const LayoutRecord& a_layout, const void* a, const LayoutRecord& b_layout, const void* b, float alpha,
             float beta, const LayoutRecord& d_layout, float* d) {
  const std::vector<float> rows = numbers(a_layout, a), tokens = numbers(b_layout, b);
  const uint64_t k = a_layout.rows;
  for (uint64_t token = 0; token < b_layout.columns; token++)
    for (uint64_t row = 0; row < a_layout.columns; row++) {
      double sum = 0;
      for (uint64_t i = 0; i < k; i++) sum += double{rows[row * k + i]} * tokens[token * k + i];
      float& out = d[token * static_cast<uint64_t>(d_layout.stride) + row];
      out = static_cast<float>(alpha * sum + (beta == 0 ? 0.0 : double{beta} * out));
    }
}

}  // namespace

size_t cublas_lt_objects() { return objects; }

}  // namespace fake_cuda

using namespace fake_cuda;

extern "C" {

#define DECLARE(name, symbol, parameters) FAKE_CUDA_API Status symbol parameters;
LLMOS_CUBLAS_LT_CALLS(DECLARE)
#undef DECLARE

#define LIBRARY_CALL(kind) \
  if (const Status status = status_of(begin_library_call(__func__, LibraryCall::kind))) return status

Status cublasLtGetProperty(int type, int* value) {
  LIBRARY_CALL(on_host);
  if (type < property_major || type > property_patch) return invalid_value;
  *value = type == property_major ? 13 : 0;
  return success;
}

Status cublasLtCreate(Handle* handle) {
  LIBRARY_CALL(in_context);
  return make(handle, HandleRecord{});
}

Status cublasLtDestroy(Handle handle) { return destroy(__func__, handle); }

Status cublasLtMatrixLayoutCreate(Layout* layout, int type, uint64_t rows, uint64_t columns, int64_t stride) {
  LIBRARY_CALL(on_host);
  return make(layout, LayoutRecord{type, rows, columns, stride});
}

Status cublasLtMatrixLayoutDestroy(Layout layout) { return destroy(__func__, layout); }

Status cublasLtMatmulDescCreate(Description* description, int compute, int scale_type) {
  LIBRARY_CALL(on_host);
  if (compute != compute_f32 || scale_type != type_f32) return invalid_value;
  return make(description, DescriptionRecord{});
}

Status cublasLtMatmulDescSetAttribute(Description description, int attribute, const void* value, size_t bytes) {
  LIBRARY_CALL(on_host);
  if (attribute != describe_transpose_a || bytes != sizeof(int32_t)) return invalid_value;
  std::memcpy(&description->transpose_a, value, bytes);
  return success;
}

Status cublasLtMatmulDescDestroy(Description description) { return destroy(__func__, description); }

Status cublasLtMatmulPreferenceCreate(Preference* preference) {
  LIBRARY_CALL(on_host);
  return make(preference, PreferenceRecord{0, {256, 256, 256, 256}});
}

Status cublasLtMatmulPreferenceSetAttribute(Preference preference, int attribute, const void* value, size_t bytes) {
  LIBRARY_CALL(on_host);
  const bool workspace = attribute == prefer_workspace;
  if (!workspace && (attribute < prefer_alignment_a || attribute > prefer_alignment_d)) return invalid_value;
  if (bytes != (workspace ? sizeof preference->workspace : sizeof preference->alignments[0])) return invalid_value;
  if (workspace)
    std::memcpy(&preference->workspace, value, bytes);
  else
    std::memcpy(&preference->alignments[attribute - prefer_alignment_a], value, bytes);
  return success;
}

Status cublasLtMatmulPreferenceDestroy(Preference preference) { return destroy(__func__, preference); }

Status cublasLtMatmulAlgoGetHeuristic(Handle handle, Description description, Layout a, Layout b, Layout c, Layout d,
                                      Preference preference, int most, Proposal* proposals, int* found) {
  LIBRARY_CALL(in_context);
  if (!handle || most < 1 || !fits(*description, *a, *b, *c, *d)) return invalid_value;
  const size_t wanted = (size_t{64} << 10) + b->columns * 256, workspace = wanted <= preference->workspace ? wanted : 0;
  *found = 1;
  proposals[0] = {algorithm_for(*a, *b, preference->alignments, workspace), workspace, success, 1, {}};
  return success;
}

Status cublasLtMatmul(Handle handle, Description description, const void* alpha, const void* a, Layout a_layout,
                      const void* b, Layout b_layout, const void* beta, const void* c, Layout c_layout, void* d,
                      Layout d_layout, const Algorithm* algorithm, void* workspace, size_t workspace_bytes,
                      llmos::cuda::StreamHandle stream) {
  LIBRARY_CALL(in_context);
  if (!handle || !fits(*description, *a_layout, *b_layout, *c_layout, *d_layout) || c != d) return invalid_value;
  const uint64_t(&told)[8] = algorithm->data;
  if (told[0] != mark || told[1] != a_layout->rows || told[2] != a_layout->columns || told[3] != b_layout->columns ||
      told[7] != static_cast<uint64_t>(a_layout->type) || told[6] > workspace_bytes)
    return invalid_value;
  if (!aligned(a, told[4] >> 32) || !aligned(b, told[4]) || !aligned(c, told[5] >> 32) || !aligned(d, told[5]) ||
      !aligned(workspace, 256))
    return invalid_value;
  float factors[2];
  std::memcpy(&factors[0], alpha, sizeof factors[0]);
  std::memcpy(&factors[1], beta, sizeof factors[1]);
  const std::vector<Range> ranges{
      {a, extent(*a_layout)}, {b, extent(*b_layout)}, {d, extent(*d_layout)}, {workspace, told[6]}};
  return status_of(submit_library_work(
      stream, ranges, [=, a_copy = *a_layout, b_copy = *b_layout, d_copy = *d_layout, used = told[6]] {
        if (used) std::memset(workspace, 0xA5, used);
        product(a_copy, a, b_copy, b, factors[0], factors[1], d_copy, static_cast<float*>(d));
        return llmos::cuda::success;
      }));
}

}  // extern "C"
