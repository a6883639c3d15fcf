// SPDX-License-Identifier: MIT
#include "fake_cuda/fake_cuda.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "fake_cuda/image.hpp"
#include "fake_cuda/kernels.hpp"
#include "fake_cuda/library.hpp"
#include "fake_cuda/memory.hpp"

namespace fake_cuda {
namespace {

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
};

Driver& driver() {
  static Driver one;
  return one;
}

char context_place;  // its address stands for the context
ContextHandle the_context() { return reinterpret_cast<ContextHandle>(&context_place); }
thread_local std::vector<ContextHandle> current;

bool loses(Result code) {
  return code == ecc_uncorrectable || code == unknown_error || code == illegal_address || code == launch_timeout ||
         code == launch_failed;
}

Result fails(Result code) {
  driver().happened = true;
  if (loses(code) && driver().users > 0) driver().lost = code;
  return code;
}

// Whether a fault is due for one more of what `function` says.
Result due(std::vector<Fault>& faults, const char* function) {
  Result code = success;
  for (Fault& fault : faults)
    if (fault.nth > 0 && (fault.function.empty() || fault.function == function) && --fault.nth == 0) code = fault.code;
  return code == success ? success : fails(code);
}

// Every call begins so; `ends` for those that end something, which is done whatever they return.
struct Call {
  enum Kind { plain, in_context, ends };
  Call(const char* function, Kind kind) : lock(driver().mutex) {
    driver().calls.push_back(function);
    result = due(driver().faults, function);
    if (result != success || kind == ends) return;
    if (!driver().initialised) result = not_initialized;
    if (kind != in_context || result != success) return;
    if (current.empty() || current.back() != the_context() || driver().users == 0)
      result = invalid_context;
    else
      result = driver().lost;
  }
  std::lock_guard<std::mutex> lock;
  Result result;
};

// Calls that wait, or may wait inside the driver, must not come from a thread that captures (in the mode "this
// thread"). They fail and spoil the capture.
Result refuse_while_capturing() {
  Result result = success;
  for (Stream* stream : driver().streams)
    if (stream->capture && stream->capture->thread == std::this_thread::get_id()) {
      stream->capture->valid = false;
      result = capture_unsupported;
    }
  return result;
}

#define UNSAFE_WHILE_CAPTURING \
  if (const Result refused = refuse_while_capturing()) return refused

#define CALL(kind)                       \
  const Call call(__func__, Call::kind); \
  if (call.result != success && Call::kind != Call::ends) return call.result

Result drain(Stream& stream) {
  if (stream.queue.empty()) return driver().lost;
  const DeviceMemory::Open open(driver().memory);
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

// Waiting for a stream that captures is an error, whoever does it.
Result refuse_captured(Stream& stream) {
  if (!stream.capture) return success;
  stream.capture->valid = false;
  return capture_unsupported;
}

bool is_pinned(const void* memory, size_t bytes) {
  const auto* first = static_cast<const std::byte*>(memory);
  const auto after = driver().pinned.upper_bound(first);
  if (after == driver().pinned.begin()) return false;
  const auto& [begin, size] = *std::prev(after);
  return first + bytes <= begin + size;
}

template <typename Set>
void forget_all(Set& set) {
  for (auto* one : set) delete one;
  set.clear();
}

// The last user has left: whatever is still there goes.
void end_context() {
  Driver& d = driver();
  d.left_behind += d.streams.size() + d.events.size() + d.modules.size() + d.memory.blocks() + d.pinned.size() +
                   d.graphs.size() + d.executables.size();
  forget_all(d.graphs);
  forget_all(d.executables);
  forget_all(d.streams);
  forget_all(d.events);
  forget_all(d.modules);
  d.memory.clear();
  for (const auto& [memory, size] : d.pinned) std::free(const_cast<std::byte*>(memory));
  d.pinned.clear();
  d.lost = success;
}

void note_violations(const std::string& text) {
  if (text.empty()) return;
  driver().violations.push_back(text);
  std::fprintf(stderr, "fake CUDA driver: %s\n", text.c_str());
}

}  // namespace

void reset(const Settings& settings) {
  const std::lock_guard lock(driver().mutex);
  Driver& d = driver();
  if (d.users > 0) std::abort();
  d.settings = settings;
  d.faults.clear();
  d.later.clear();
  d.calls.clear();
  d.launches.clear();
  d.violations.clear();
  d.happened = false;
  d.operations = d.downloaded = d.left_behind = 0;
  d.memory.set_capacity(settings.memory);
}

void fault(size_t nth, Result code, const std::string& function) {
  const std::lock_guard lock(driver().mutex);
  driver().faults.push_back({function, nth, code});
}

void fault_later(size_t nth, Result code) {
  const std::lock_guard lock(driver().mutex);
  driver().later.push_back({"", nth, code});
}

bool fault_happened() { return driver().happened; }
std::vector<std::string> take_calls() { return std::exchange(driver().calls, {}); }
std::vector<std::string> take_launches() { return std::exchange(driver().launches, {}); }
size_t operations() { return driver().operations; }
size_t downloaded() { return driver().downloaded; }
size_t left_behind() { return driver().left_behind; }
std::vector<std::string> violations() { return driver().violations; }

Ledger ledger() {
  const std::lock_guard lock(driver().mutex);
  const Driver& d = driver();
  return {d.users,           d.streams.size(), d.events.size(), d.modules.size(),
          d.memory.blocks(), d.memory.bytes(), d.pinned.size(), d.graphs.size() + d.executables.size()};
}

}  // namespace fake_cuda

using namespace fake_cuda;

extern "C" {

#define DECLARE(name, symbol, parameters) FAKE_CUDA_API Result symbol parameters;
LLMOS_DRIVER_CALLS(DECLARE)
#undef DECLARE

Result cuInit(unsigned flags) {
  CALL(ends);
  if (call.result != success) return call.result;
  if (flags != 0) return invalid_value;
  if (driver().settings.init != success) return driver().settings.init;
  driver().initialised = true;
  return success;
}

Result cuDriverGetVersion(int* version) {
  CALL(plain);
  *version = driver().settings.version;
  return success;
}

Result cuDeviceGetCount(int* count) {
  CALL(plain);
  *count = driver().settings.devices;
  return success;
}

Result cuDeviceGet(DeviceNumber* device, int ordinal) {
  CALL(plain);
  if (ordinal < 0 || ordinal >= driver().settings.devices) return invalid_device;
  *device = ordinal;
  return success;
}

Result cuDeviceGetName(char* name, int length, DeviceNumber) {
  CALL(plain);
  std::snprintf(name, static_cast<size_t>(length), "simulated GPU");
  return success;
}

Result cuDeviceGetAttribute(int* value, int attribute, DeviceNumber) {
  CALL(plain);
  if (attribute != compute_capability_major && attribute != compute_capability_minor) return invalid_value;
  *value = attribute == compute_capability_major ? driver().settings.major : driver().settings.minor;
  return success;
}

Result cuDeviceGetPCIBusId(char* id, int length, DeviceNumber device) {
  CALL(plain);
  std::snprintf(id, static_cast<size_t>(length), "0000:%02X:00.0", 0xAA + device);
  return success;
}

Result cuDevicePrimaryCtxRetain(ContextHandle* context, DeviceNumber) {
  CALL(plain);
  driver().users++;
  *context = the_context();
  return success;
}

Result cuDevicePrimaryCtxRelease_v2(DeviceNumber) {
  CALL(ends);
  if (driver().users == 0) return invalid_context;
  if (--driver().users == 0) end_context();
  return call.result;
}

Result cuCtxPushCurrent_v2(ContextHandle context) {
  CALL(plain);
  if (context != the_context() || driver().users == 0) return invalid_context;
  current.push_back(context);
  return success;
}

Result cuCtxPopCurrent_v2(ContextHandle* context) {
  CALL(ends);
  if (current.empty()) return invalid_context;
  *context = current.back();
  current.pop_back();
  return call.result;
}

Result cuMemGetInfo_v2(size_t* free, size_t* total) {
  CALL(in_context);
  *total = driver().memory.capacity();
  *free = *total - driver().memory.bytes();
  return success;
}

Result cuMemAlloc_v2(Address* address, size_t bytes) {
  CALL(in_context);
  UNSAFE_WHILE_CAPTURING;
  if (bytes == 0) return invalid_value;
  *address = driver().memory.allocate(bytes);
  return *address ? success : out_of_memory;
}

Result cuMemFree_v2(Address address) {
  CALL(in_context);
  UNSAFE_WHILE_CAPTURING;
  if (const Result result = drain_all()) return result;
  std::string violation;
  const bool known = driver().memory.release(address, violation);
  note_violations(violation);
  return known ? success : invalid_value;
}

Result cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
  CALL(in_context);
  UNSAFE_WHILE_CAPTURING;
  *memory = std::aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
  if (!*memory) return out_of_memory;
  std::memset(*memory, 0xCB, bytes);
  driver().pinned[static_cast<std::byte*>(*memory)] = bytes;
  return success;
}

Result cuMemFreeHost(void* memory) {
  CALL(in_context);
  UNSAFE_WHILE_CAPTURING;
  if (const Result result = drain_all()) return result;
  if (driver().pinned.erase(static_cast<std::byte*>(memory)) == 0) return invalid_value;
  std::free(memory);
  return success;
}

Result cuMemsetD8Async(Address address, unsigned char value, size_t count, StreamHandle stream) {
  CALL(in_context);
  if (!driver().memory.holds(address, count)) return invalid_value;
  return submit(stream, [=] {
    if (!driver().memory.holds(address, count)) return illegal_address;  // freed since
    std::memset(reinterpret_cast<void*>(address), value, count);
    return success;
  });
}

// Pinned memory is read when the copy is carried out: too early a reuse of it shows. Other memory is read at once.
Result cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, StreamHandle stream) {
  CALL(in_context);
  if (!driver().memory.holds(to, bytes)) return invalid_value;
  std::shared_ptr<std::vector<char>> copy;
  if (!is_pinned(from, bytes))
    copy = std::make_shared<std::vector<char>>(static_cast<const char*>(from), static_cast<const char*>(from) + bytes);
  return submit(stream, [=] {
    if (!driver().memory.holds(to, bytes)) return illegal_address;
    std::memcpy(reinterpret_cast<void*>(to), copy ? copy->data() : from, bytes);
    return success;
  });
}

Result cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, StreamHandle stream) {
  CALL(in_context);
  if (!driver().memory.holds(from, bytes)) return invalid_value;
  return submit(stream, [=] {
    if (!driver().memory.holds(from, bytes)) return illegal_address;
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    driver().downloaded += bytes;
    return success;
  });
}

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
  driver().streams.erase(stream);
  delete stream;
  return result;
}

Result cuStreamSynchronize(StreamHandle handle) {
  CALL(in_context);
  auto* stream = reinterpret_cast<Stream*>(handle);
  if (!driver().streams.contains(stream)) return invalid_value;
  if (const Result refused = refuse_captured(*stream)) return refused;
  return drain(*stream);
}

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
  auto* exec = reinterpret_cast<Graph*>(handle);
  if (driver().executables.erase(exec) == 0) return invalid_value;
  delete exec;
  return call.result;
}

Result cuGraphDestroy(GraphHandle handle) {
  CALL(ends);
  auto* graph = reinterpret_cast<Graph*>(handle);
  if (driver().graphs.erase(graph) == 0) return invalid_value;
  delete graph;
  return call.result;
}

Result cuEventCreate(EventHandle* event, unsigned) {
  CALL(in_context);
  *event = reinterpret_cast<EventHandle>(*driver().events.insert(new Event).first);
  return success;
}

Result cuEventDestroy_v2(EventHandle handle) {
  CALL(in_context);
  auto* event = reinterpret_cast<Event*>(handle);
  if (driver().events.erase(event) == 0) return invalid_value;
  delete event;
  return success;
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

Result cuModuleLoadData(ModuleHandle* module, const void* image) {
  CALL(in_context);
  UNSAFE_WHILE_CAPTURING;
  if (const Result result = judge_image(image, driver().settings.major, driver().settings.minor)) return result;
  *module = reinterpret_cast<ModuleHandle>(*driver().modules.insert(new int).first);
  return success;
}

Result cuModuleUnload(ModuleHandle handle) {
  CALL(in_context);
  UNSAFE_WHILE_CAPTURING;
  auto* module = reinterpret_cast<int*>(handle);
  if (driver().modules.erase(module) == 0) return invalid_value;
  delete module;
  return success;
}

Result cuModuleGetFunction(FunctionHandle* function, ModuleHandle module, const char* name) {
  CALL(in_context);
  if (!driver().modules.contains(reinterpret_cast<int*>(module))) return invalid_value;
  const RunnableKernel* found = find_kernel(name);
  *function = reinterpret_cast<FunctionHandle>(const_cast<RunnableKernel*>(found));
  return found ? success : not_found;
}

Result cuLaunchKernel(FunctionHandle function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                      unsigned block_y, unsigned block_z, unsigned shared_bytes, StreamHandle stream, void** parameters,
                      void** extra) {
  CALL(in_context);
  const auto* kernel = reinterpret_cast<const RunnableKernel*>(function);
  const size_t threads = size_t{block_x} * block_y * block_z;
  if (!kernel || extra || shared_bytes || threads == 0 || threads > kernel->most_threads || grid_x == 0 ||
      grid_y == 0 || grid_z == 0 || grid_y > 65535 || grid_z > 65535)
    return invalid_value;
  const auto* first = static_cast<const char*>(parameters[0]);  // copied now, as the driver does
  const auto arguments = std::make_shared<std::vector<char>>(first, first + kernel->argument_bytes);
  return submit(stream, [=] {
    try {
      driver().launches.emplace_back(kernel->name);
      simt::launch(
          {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, [&] { kernel->run(arguments->data()); },
          driver().settings.schedule);
      return success;
    } catch (const simt::Fault& fault) {
      note_violations(std::string(kernel->name) + ": " + fault.what());
      return launch_failed;
    }
  });
}

}  // extern "C"

namespace fake_cuda {

Result begin_library_call(const char* function, LibraryCall kind) {
  constexpr Call::Kind kinds[] = {Call::plain, Call::in_context, Call::ends};
  return Call(function, kinds[static_cast<int>(kind)]).result;
}

Result submit_library_work(StreamHandle stream, const std::vector<Range>& ranges, std::function<Result()> work) {
  const std::lock_guard lock(driver().mutex);
  UNSAFE_WHILE_CAPTURING;
  const auto held = [ranges] {
    return std::ranges::all_of(ranges, [](const Range& range) {
      return range.bytes == 0 || driver().memory.holds(reinterpret_cast<Address>(range.begin), range.bytes);
    });
  };
  if (!held()) return invalid_value;
  return submit(stream, [held, work = std::move(work)] { return held() ? work() : illegal_address; });
}

}  // namespace fake_cuda
