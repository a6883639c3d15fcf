// SPDX-License-Identifier: MIT
// The part of cuBLASLt's interface that llmos uses, declared here so that it builds where no cuBLAS is installed: the
// same in the libraries of CUDA 12 and 13. Where one is, check_cublas_lt_api.cpp compares this with <cublasLt.h>.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cuda/driver_api.hpp"

namespace llmos::cuda::lt {

using Status = int;  // cublasStatus_t

// Opaque to us; names only keep them apart.
using Handle = struct HandleRecord*;
using Layout = struct LayoutRecord*;
using Description = struct DescriptionRecord*;
using Preference = struct PreferenceRecord*;

struct Algorithm {
  uint64_t data[8];
};

// What the library would do for a product.
struct Proposal {
  Algorithm algorithm;
  size_t workspace_bytes;
  Status state;
  float waves;
  int reserved[4];
};

inline constexpr Status success = 0, not_initialized = 1, allocation_failed = 3, invalid_value = 7, arch_mismatch = 8,
                        execution_failed = 13, internal_error = 14, not_supported = 15;

inline constexpr int type_f32 = 0, type_f16 = 2, type_bf16 = 14;  // of cudaDataType_t
inline constexpr int compute_f32 = 68;                            // of cublasComputeType_t
inline constexpr int32_t transposed = 1;                          // of cublasOperation_t
inline constexpr int describe_transpose_a = 3;                    // of cublasLtMatmulDescAttributes_t
inline constexpr int prefer_workspace = 1, prefer_alignment_a = 5, prefer_alignment_b = 6, prefer_alignment_c = 7,
                     prefer_alignment_d = 8;                                      // of …MatmulPreferenceAttributes_t
inline constexpr int property_major = 0, property_minor = 1, property_patch = 2;  // of libraryPropertyType

// USE(function of ours, symbol of the library, parameters). A stream of the driver is one of the runtime's.
#define LLMOS_CUBLAS_LT_CALLS(USE)                                                                               \
  USE(property, cublasLtGetProperty, (int type, int* value))                                                     \
  USE(create, cublasLtCreate, (Handle * handle))                                                                 \
  USE(destroy, cublasLtDestroy, (Handle handle))                                                                 \
  USE(layout_create, cublasLtMatrixLayoutCreate,                                                                 \
      (Layout * layout, int type, uint64_t rows, uint64_t columns, int64_t stride))                              \
  USE(layout_destroy, cublasLtMatrixLayoutDestroy, (Layout layout))                                              \
  USE(description_create, cublasLtMatmulDescCreate, (Description * description, int compute, int scale_type))    \
  USE(description_set, cublasLtMatmulDescSetAttribute,                                                           \
      (Description description, int attribute, const void* value, size_t bytes))                                 \
  USE(description_destroy, cublasLtMatmulDescDestroy, (Description description))                                 \
  USE(preference_create, cublasLtMatmulPreferenceCreate, (Preference * preference))                              \
  USE(preference_set, cublasLtMatmulPreferenceSetAttribute,                                                      \
      (Preference preference, int attribute, const void* value, size_t bytes))                                   \
  USE(preference_destroy, cublasLtMatmulPreferenceDestroy, (Preference preference))                              \
  USE(propose, cublasLtMatmulAlgoGetHeuristic,                                                                   \
      (Handle handle, Description description, Layout a, Layout b, Layout c, Layout d, Preference preference,    \
       int most, Proposal* proposals, int* found))                                                               \
  USE(multiply, cublasLtMatmul,                                                                                  \
      (Handle handle, Description description, const void* alpha, const void* a, Layout a_layout, const void* b, \
       Layout b_layout, const void* beta, const void* c, Layout c_layout, void* d, Layout d_layout,              \
       const Algorithm* algorithm, void* workspace, size_t workspace_bytes, StreamHandle stream))

struct Calls {
#define LLMOS_DECLARE_CALL(name, symbol, parameters) Status(*name) parameters = nullptr;
  LLMOS_CUBLAS_LT_CALLS(LLMOS_DECLARE_CALL)
#undef LLMOS_DECLARE_CALL
};

}  // namespace llmos::cuda::lt
