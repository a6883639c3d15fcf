// SPDX-License-Identifier: MIT
// Our declarations of cuBLASLt's interface against its own, where its header is installed. Compiled, never run.
#include <cublasLt.h>

#include "cuda/cublas_lt_api.hpp"
#include "cuda/same_call.hpp"

namespace lt = llmos::cuda::lt;

namespace llmos::cuda::lt {
LLMOS_CUBLAS_LT_CALLS(CHECK_CALL)
}

static_assert(sizeof(lt::Algorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(lt::Proposal) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(lt::Proposal, workspace_bytes) == offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(lt::Proposal, state) == offsetof(cublasLtMatmulHeuristicResult_t, state));
static_assert(lt::success == CUBLAS_STATUS_SUCCESS && lt::not_initialized == CUBLAS_STATUS_NOT_INITIALIZED);
static_assert(lt::allocation_failed == CUBLAS_STATUS_ALLOC_FAILED && lt::invalid_value == CUBLAS_STATUS_INVALID_VALUE);
static_assert(lt::arch_mismatch == CUBLAS_STATUS_ARCH_MISMATCH);
static_assert(lt::execution_failed == CUBLAS_STATUS_EXECUTION_FAILED);
static_assert(lt::internal_error == CUBLAS_STATUS_INTERNAL_ERROR && lt::not_supported == CUBLAS_STATUS_NOT_SUPPORTED);
static_assert(lt::type_f32 == CUDA_R_32F && lt::type_f16 == CUDA_R_16F && lt::type_bf16 == CUDA_R_16BF);
static_assert(lt::compute_f32 == CUBLAS_COMPUTE_32F && lt::transposed == CUBLAS_OP_T);
static_assert(lt::describe_transpose_a == CUBLASLT_MATMUL_DESC_TRANSA);
static_assert(lt::prefer_workspace == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(lt::prefer_alignment_a == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
static_assert(lt::prefer_alignment_b == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
static_assert(lt::prefer_alignment_c == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
static_assert(lt::prefer_alignment_d == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
static_assert(lt::property_major == MAJOR_VERSION && lt::property_minor == MINOR_VERSION);
static_assert(lt::property_patch == PATCH_LEVEL);
