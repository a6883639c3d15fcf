// SPDX-License-Identifier: MIT
// What the fake of a library that computes on the device asks of the fake driver.
#pragma once

#include <functional>
#include <vector>

#include "fake_cuda/fake_cuda.hpp"

namespace fake_cuda {

using llmos::cuda::Address;
using llmos::cuda::StreamHandle;

enum class LibraryCall { on_host, in_context, ends };  // as the driver's own calls: see fault()

// A call of the library begins: counted among the driver's, and failing on demand as they do.
FAKE_CUDA_API Result begin_library_call(const char* function, LibraryCall kind);

struct Range {
  const void* begin;
  size_t bytes;
};

// Work for a stream in these ranges of device memory, which are checked now and when it is carried out. A stream that
// captures does not take it, and its capture is spoilt.
FAKE_CUDA_API Result submit_library_work(StreamHandle stream, const std::vector<Range>& ranges,
                                         std::function<Result()> work);

// Of the fake cuBLASLt: handles, layouts, descriptions and preferences that live.
FAKE_CUDA_API size_t cublas_lt_objects();

}  // namespace fake_cuda
