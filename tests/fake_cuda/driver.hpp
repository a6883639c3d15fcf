// SPDX-License-Identifier: MIT
// What the fake driver's parts share: its state, how every call begins, and what streams are told. Each part has the
// calls of one noun; their declarations are at the end.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "fake_cuda/fake_cuda.hpp"
#include "fake_cuda/memory.hpp"
#include "fake_cuda/registered.hpp"

namespace fake_cuda {

using namespace llmos::cuda;

using Operation = std::function<Result()>;

// What a stream was told while it captured.
using Graph = std::vector<Operation>;

// A stream that captures: by which thread, and whether something was called that must not be called meanwhile.
struct Capture {
  std::thread::id thread;
  Graph graph;
  bool valid = true;
};

struct Stream {
  std::deque<Operation> queue;
  std::unique_ptr<Capture> capture;
};

struct Event {
  bool recorded = false, done = false;
  bool captured = false;  // recorded in a capture last: nobody can wait for it
};

struct Fault {
  std::string function;
  size_t nth;
  Result code;
};

struct Driver {
  Driver() { memory.set_capacity(settings.memory); }

  std::mutex mutex;
  Settings settings;
  std::vector<Fault> faults;
  std::vector<Fault> later;
  bool happened = false, initialised = false;
  std::vector<std::string> calls, launches;
  size_t operations = 0, downloaded = 0, left_behind = 0;
  std::vector<std::string> violations;

  // The one context there is.
  size_t users = 0;
  Result lost = success;
  std::set<Stream*> streams;
  std::set<Event*> events;
  std::set<int*> modules;
  std::set<Graph*> graphs, executables;
  DeviceMemory memory;
  std::map<const std::byte*, size_t> pinned;
  RegisteredMemory registered;
};

Driver& driver();

// ---- Calls ----

// Every call begins so; `ends` for those that end something, which is done whatever they return.
struct Call {
  enum Kind { plain, in_context, ends };
  Call(const char* function, Kind kind);
  std::lock_guard<std::mutex> lock;
  Result result;
};

#define CALL(kind)                       \
  const Call call(__func__, Call::kind); \
  if (call.result != success && Call::kind != Call::ends) return call.result

// Calls that wait, or may wait inside the driver, must not come from a thread that captures (in the mode "this
// thread"). They fail and spoil the capture.
Result refuse_while_capturing();

#define UNSAFE_WHILE_CAPTURING \
  if (const Result refused = refuse_while_capturing()) return refused

// Ends an object of the context: `handle` stands for one of `all`.
template <typename Object, typename Handle>
Result destroy(std::set<Object*>& all, Handle handle) {
  auto* const object = reinterpret_cast<Object*>(handle);
  if (all.erase(object) == 0) return invalid_value;
  delete object;
  return success;
}

// A fault that is due of `faults` for one more of what `function` says; it may lose the context.
Result due(std::vector<Fault>& faults, const char* function);
Result fails(Result code);

// This thread's contexts, the last of them the current one.
ContextHandle the_context();
std::vector<ContextHandle>& current_contexts();

void note_violation(const std::string& text);

// ---- Streams ----

Result submit(StreamHandle stream, Operation operation);
Result drain(Stream& stream);
Result drain_all();

}  // namespace fake_cuda

using namespace fake_cuda;  // the calls are C functions, outside of any namespace

extern "C" {
#define DECLARE(name, symbol, parameters) FAKE_CUDA_API Result symbol parameters;
LLMOS_DRIVER_CALLS(DECLARE)
#undef DECLARE
}
