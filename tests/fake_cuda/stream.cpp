// SPDX-License-Identifier: MIT
// Streams, which run nothing before somebody waits, and events.
#include <utility>

#include "fake_cuda/driver.hpp"

namespace fake_cuda {

Result drain(Stream& stream) {
  if (stream.queue.empty()) return driver().lost;
  const DeviceMemory::Open open(driver().memory);
  const RegisteredMemory::Open registered(driver().registered);
  while (!stream.queue.empty() && driver().lost == success) {
    const Operation operation = std::move(stream.queue.front());
    stream.queue.pop_front();
    driver().operations++;
    Result result = due(driver().later, "");
    if (result == success) result = operation();
    if (result != success) return fails(result);
  }
  return driver().lost;
}

Result drain_all() {
  for (Stream* stream : driver().streams)
    if (const Result result = drain(*stream)) return result;
  return driver().lost;
}

Result submit(StreamHandle handle, Operation operation) {
  auto* stream = reinterpret_cast<Stream*>(handle);
  if (!driver().streams.contains(stream)) return invalid_value;
  if (!stream->capture) {
    stream->queue.push_back(std::move(operation));
    return success;
  }
  if (!stream->capture->valid) return capture_invalidated;
  stream->capture->graph.push_back(std::move(operation));
  return success;
}

namespace {

// Waiting for a stream that captures is an error, whoever does it.
Result refuse_captured(Stream& stream) {
  if (!stream.capture) return success;
  stream.capture->valid = false;
  return capture_unsupported;
}

}  // namespace
}  // namespace fake_cuda

extern "C" {

Result cuStreamCreate(StreamHandle* stream, unsigned) {
  CALL(in_context);
  *stream = reinterpret_cast<StreamHandle>(*driver().streams.insert(new Stream).first);
  return success;
}

Result cuStreamDestroy_v2(StreamHandle handle) {
  CALL(in_context);
  auto* stream = reinterpret_cast<Stream*>(handle);
  if (!driver().streams.contains(stream)) return invalid_value;
  const Result result = drain(*stream);
  destroy(driver().streams, handle);
  return result;
}

Result cuStreamSynchronize(StreamHandle handle) {
  CALL(in_context);
  auto* stream = reinterpret_cast<Stream*>(handle);
  if (!driver().streams.contains(stream)) return invalid_value;
  if (const Result refused = refuse_captured(*stream)) return refused;
  return drain(*stream);
}

Result cuEventCreate(EventHandle* event, unsigned) {
  CALL(in_context);
  *event = reinterpret_cast<EventHandle>(*driver().events.insert(new Event).first);
  return success;
}

Result cuEventDestroy_v2(EventHandle handle) {
  CALL(in_context);
  return destroy(driver().events, handle);
}

Result cuEventRecord(EventHandle handle, StreamHandle stream) {
  CALL(in_context);
  auto* event = reinterpret_cast<Event*>(handle);
  if (!driver().events.contains(event)) return invalid_value;
  const auto* capturing = reinterpret_cast<Stream*>(stream);
  event->captured = driver().streams.contains(const_cast<Stream*>(capturing)) && capturing->capture;
  event->recorded = true;
  event->done = false;
  return submit(stream, [event] {
    if (driver().events.contains(event)) event->done = true;
    return success;
  });
}

Result cuEventSynchronize(EventHandle handle) {
  CALL(in_context);
  auto* event = reinterpret_cast<Event*>(handle);
  if (!driver().events.contains(event)) return invalid_value;
  if (event->captured) return capture_unsupported;
  return event->recorded && !event->done ? drain_all() : success;
}

}  // extern "C"
