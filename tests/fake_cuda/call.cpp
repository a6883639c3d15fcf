// SPDX-License-Identifier: MIT
// How every call begins: it is noted, may be told to fail, and may need a context that is not lost.
#include <cstdio>

#include "fake_cuda/driver.hpp"

namespace fake_cuda {
namespace {

char context_place;  // its address stands for the context

bool loses(Result code) {
  return code == ecc_uncorrectable || code == unknown_error || code == illegal_address || code == launch_timeout ||
         code == launch_failed;
}

}  // namespace

Driver& driver() {
  static Driver one;
  return one;
}

ContextHandle the_context() { return reinterpret_cast<ContextHandle>(&context_place); }

std::vector<ContextHandle>& current_contexts() {
  thread_local std::vector<ContextHandle> current;
  return current;
}

Result fails(Result code) {
  driver().happened = true;
  if (loses(code) && driver().users > 0) driver().lost = code;
  return code;
}

Result due(std::vector<Fault>& faults, const char* function) {
  Result code = success;
  for (Fault& fault : faults)
    if (fault.nth > 0 && (fault.function.empty() || fault.function == function) && --fault.nth == 0) code = fault.code;
  return code == success ? success : fails(code);
}

Call::Call(const char* function, Kind kind) : lock(driver().mutex) {
  driver().calls.push_back(function);
  result = due(driver().faults, function);
  if (result != success || kind == ends) return;
  if (!driver().initialised) result = not_initialized;
  if (kind != in_context || result != success) return;
  const auto& current = current_contexts();
  if (current.empty() || current.back() != the_context() || driver().users == 0)
    result = invalid_context;
  else
    result = driver().lost;
}

Result refuse_while_capturing() {
  Result result = success;
  for (Stream* stream : driver().streams)
    if (stream->capture && stream->capture->thread == std::this_thread::get_id()) {
      stream->capture->valid = false;
      result = capture_unsupported;
    }
  return result;
}

void note_violation(const std::string& text) {
  if (text.empty()) return;
  driver().violations.push_back(text);
  std::fprintf(stderr, "fake CUDA driver: %s\n", text.c_str());
}

}  // namespace fake_cuda
