// SPDX-License-Identifier: MIT
// Which layers of a model run where: the last ones on the device, what it has no room for on the host, before them. The
// hidden states go over once a batch. Keys and values lie where their layer runs.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/options.hpp"
#include "format/gguf.hpp"
#include "model/config.hpp"
#include "model/weights.hpp"

namespace llmos::core {

struct Placement {
  std::vector<Part> parts;  // one for each backend that is needed, the device's last
  size_t pages;             // of the cache, in each of the parts
  Demand demand;            // of the device's memory, as far as it is not the host's; all of it is taken at once
  size_t device_layers() const { return parts.back().layers(); }
};

// The backends that the options may need: the device's last. EINVAL for a number of layers where there is no device.
std::vector<std::unique_ptr<Backend>> make_backends(const EngineOptions& options);

// Sizes of the engine's largest step on that part.
StepSizes step_sizes(const Config& config, const EngineOptions& options, size_t pages);

// ENOMEM, before anything is allocated, when the device has no room for as many layers as were asked for, or, where it
// was to be as many as fit, not even for the output. The rest as WantedWeights.
Placement place_layers(const Gguf& gguf, const Config& config, std::span<const std::unique_ptr<Backend>> backends,
                       const EngineOptions& options, size_t context);

}  // namespace llmos::core
