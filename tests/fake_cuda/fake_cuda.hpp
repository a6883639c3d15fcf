// SPDX-License-Identifier: MIT
// A CUDA driver without a GPU, for tests: a libcuda.so.1 whose kernels are run by the SIMT shim. What the tests set and
// ask is here; what the product calls is the driver's own interface.
//
// It is stricter than a GPU wherever that finds mistakes: streams run nothing before somebody waits, so that pinned
// memory is read as late as it may be; device memory is inaccessible to the host, ends at an inaccessible page, is
// never zero by itself, and has its last bytes checked when it is freed; registered memory of the host has another
// address on the device, which can only read it; every range and handle is checked; a thread
// that captures a graph may call nothing that could wait, or the capture is spoilt and the stream says so. A context
// is lost with the errors that lose it on a GPU, until its last user leaves it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cuda/driver_api.hpp"
#include "simt/simt.hpp"

namespace fake_cuda {

using llmos::cuda::Result;

#define FAKE_CUDA_API __attribute__((visibility("default")))

struct Settings {
  size_t memory = 256 << 20;
  int devices = 1, version = 12000;
  int major = 8, minor = 0;  // compute capability
  Result init = 0;           // what cuInit says
  bool registers_read_only = true;
  simt::Schedule schedule = {};
  std::string idle = {};  // the kernel of this name does nothing: who checks it has to notice
  std::string name = "simulated GPU";
};

// Begins anew: no faults, no calls counted. There must be no context.
FAKE_CUDA_API void reset(const Settings& settings = {});

// The n-th call from now on (counted from 1; of `function`, or of any) returns `code` and does nothing; a call that
// ends something does it all the same, as a driver does that reports what went wrong before.
FAKE_CUDA_API void fault(size_t nth, Result code, const std::string& function = "");
// The n-th operation that a stream carries out from now on fails, and with it whoever waits for it.
FAKE_CUDA_API void fault_later(size_t nth, Result code);
FAKE_CUDA_API bool fault_happened();

// The calls since reset() or since this was last asked, in order.
FAKE_CUDA_API std::vector<std::string> take_calls();
// The names of kernels that streams ran since reset() or since this was last asked.
FAKE_CUDA_API std::vector<std::string> take_launches();
FAKE_CUDA_API size_t operations();  // carried out by streams since reset()
FAKE_CUDA_API size_t downloaded();  // bytes copied to the host since reset()

// What there is at the moment.
struct Ledger {
  size_t contexts = 0, streams = 0, events = 0, modules = 0, blocks = 0, bytes = 0, pinned = 0, graphs = 0,
         registered = 0;
  bool operator==(const Ledger&) const = default;
};
FAKE_CUDA_API Ledger ledger();
// What was still in contexts when their last user left them, in all since reset().
FAKE_CUDA_API size_t left_behind();
// What a GPU might not have noticed: bytes written beyond an allocation, faults of the SIMT shim.
FAKE_CUDA_API std::vector<std::string> violations();

}  // namespace fake_cuda
