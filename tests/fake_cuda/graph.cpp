// SPDX-License-Identifier: MIT
// Captures, and the graphs that come of them.
#include <utility>

#include "fake_cuda/driver.hpp"

extern "C" {

Result cuStreamBeginCapture_v2(StreamHandle handle, unsigned mode) {
  CALL(in_context);
  auto* stream = reinterpret_cast<Stream*>(handle);
  if (!driver().streams.contains(stream) || mode > 2) return invalid_value;
  if (mode != capture_this_thread) return invalid_value;  // the product uses no other, and neither is it made here
  if (stream->capture) return illegal_state;
  stream->capture = std::make_unique<Capture>();
  stream->capture->thread = std::this_thread::get_id();
  return success;
}

Result cuStreamEndCapture(StreamHandle handle, GraphHandle* graph) {
  CALL(ends);
  *graph = nullptr;
  auto* stream = reinterpret_cast<Stream*>(handle);
  if (!driver().streams.contains(stream)) return invalid_value;
  if (!stream->capture) return illegal_state;
  if (stream->capture->thread != std::this_thread::get_id()) return capture_wrong_thread;
  const std::unique_ptr<Capture> capture = std::move(stream->capture);
  if (call.result != success) return call.result;
  if (driver().lost != success) return driver().lost;
  if (!capture->valid) return capture_invalidated;
  *graph = reinterpret_cast<GraphHandle>(*driver().graphs.insert(new Graph(std::move(capture->graph))).first);
  return success;
}

Result cuGraphInstantiateWithFlags(GraphExecHandle* exec, GraphHandle handle, unsigned long long flags) {
  CALL(in_context);
  auto* graph = reinterpret_cast<Graph*>(handle);
  if (!driver().graphs.contains(graph) || flags != 0) return invalid_value;
  *exec = reinterpret_cast<GraphExecHandle>(*driver().executables.insert(new Graph(*graph)).first);
  return success;
}

Result cuGraphLaunch(GraphExecHandle handle, StreamHandle stream) {
  CALL(in_context);
  auto* exec = reinterpret_cast<Graph*>(handle);
  if (!driver().executables.contains(exec)) return invalid_value;
  for (const Operation& operation : *exec)
    if (const Result result = submit(stream, operation)) return result;
  return success;
}

Result cuGraphExecDestroy(GraphExecHandle handle) {
  CALL(ends);
  const Result result = destroy(driver().executables, handle);
  return result ? result : call.result;
}

Result cuGraphDestroy(GraphHandle handle) {
  CALL(ends);
  const Result result = destroy(driver().graphs, handle);
  return result ? result : call.result;
}

}  // extern "C"
