// SPDX-License-Identifier: MIT
// What was issued on a device's stream once, recorded to be issued again by a single call.
#pragma once

#include <exception>
#include <functional>

#include "cuda/device.hpp"

namespace llmos::cuda {

// Why a step is not recorded, while it may be issued call by call: the driver has no memory for the graph, or does not
// take what is in it.
class GraphRefused : public std::exception {};

// Everything fails as check() does.
class Graph {
 public:
  // Records what `issue` issues, in which nothing but launches and copies within the device's memory may be. Nothing is
  // carried out yet. GraphRefused, or what `issue` throws, leaves the stream as it was.
  Graph(const Device& device, const std::function<void()>& issue);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void launch();

 private:
  const Device& device_;
  GraphExecHandle exec_ = nullptr;
};

}  // namespace llmos::cuda
