// SPDX-License-Identifier: MIT
#include "cuda/graph.hpp"

#include "system/error.hpp"

namespace llmos::cuda {

namespace {

void check_graph(Result result, const char* what) {
  if (result == success) return;
  if (loses_context(result)) fail_call(result, what);
  throw GraphRefused();
}

// Ends the capture whatever happened in it: a stream that captures takes no other work.
class Capture {
 public:
  Capture(const Driver& driver, StreamHandle stream) : driver_(driver), stream_(stream) {
    check_graph(driver_.capture_begin(stream_, capture_this_thread), "begin to record a step");
  }
  ~Capture() {
    if (open_) driver_.capture_end(stream_, &graph_);
    if (graph_) driver_.graph_destroy(graph_);
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  GraphHandle end() {
    open_ = false;
    check_graph(driver_.capture_end(stream_, &graph_), "record a step");
    return graph_;
  }

 private:
  const Driver& driver_;
  const StreamHandle stream_;
  GraphHandle graph_ = nullptr;
  bool open_ = true;
};

}  // namespace

Graph::Graph(const Device& device, const std::function<void()>& issue) : device_(device) {
  const Device::Current current(device_);
  Capture capture(device_.driver(), device_.stream());
  issue();
  check_graph(device_.driver().graph_instantiate(&exec_, capture.end(), 0), "prepare a recorded step");
}

Graph::~Graph() {
  try {
    const Device::Current current(device_);
    device_.driver().graph_exec_destroy(exec_);
  } catch (const core::Failure&) {  // it goes with the context
  }
}

void Graph::launch() { check(device_.driver().graph_launch(exec_, device_.stream()), "start a recorded step"); }

}  // namespace llmos::cuda
