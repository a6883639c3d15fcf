// SPDX-License-Identifier: MIT
#include "engine/placement.hpp"

#include <algorithm>
#include <cerrno>

#include "model/stage.hpp"
#include "system/error.hpp"

namespace llmos::core {
namespace {

constexpr size_t default_sequences = 4;  // full contexts that the cache holds unless told otherwise

std::vector<Part> parts_of(size_t layers, size_t on_device) {
  const size_t first = layers - on_device;
  if (first == 0) return {{0, layers, true, true}};
  return {{0, first, true, false}, {first, layers, false, true}};
}

class Placer {
 public:
  Placer(const Gguf& gguf, const Config& config, std::span<const std::unique_ptr<Backend>> backends,
         const EngineOptions& options, size_t context)
      : gguf_(gguf), config_(config), backends_(backends), options_(options), context_(context) {}

  Placement with(size_t on_device) const {
    Placement placement{parts_of(config_.layers, on_device), 0, {}};
    placement.pages = cache_pages(placement.parts);
    if (device().room()) placement.demand = demand_of(placement);
    return placement;
  }

  // As many layers as there is room for, with what the driver may waste of each block.
  Placement fitting() const {
    const std::optional<Backend::Room> room = device().room();
    if (!room) return with(config_.layers);
    const auto fits = [&](const Placement& placement) {
      return placement.demand.bytes + placement.demand.blocks * room->unit <= room->bytes;
    };
    size_t least = 0, most = config_.layers;
    while (least < most) {
      const size_t middle = (least + most + 1) / 2;
      if (fits(with(middle)))
        least = middle;
      else
        most = middle - 1;
    }
    return with(least);
  }

  void check_room(const Placement& placement) const {
    const std::optional<Backend::Room> room = device().room();
    if (!room || placement.demand.bytes <= room->bytes) return;
    const size_t weights = WantedWeights(gguf_, config_, placement.parts.back()).demand(device()).bytes;
    fail(ENOMEM,
         "{} of the model's {} layers need {} bytes on '{}', where {} are free: their weights take {}, cache and "
         "activations {}; run fewer layers there, or use a smaller context, cache or batch",
         placement.device_layers(), config_.layers, placement.demand.bytes, device().description(), room->bytes,
         weights, placement.demand.bytes - weights);
  }

 private:
  Backend& device() const { return *backends_.back(); }

  CacheLayout layout(Backend& backend, const Part& part) const {
    return backend.cache_layout(options_.cache_type, part.layers(), config_.kv_heads, config_.head_size);
  }

  size_t cache_pages(std::span<const Part> parts) const {
    size_t page_bytes = 0;  // in all parts
    for (size_t i = 0; i < parts.size(); i++)
      page_bytes += layout(*backends_[backends_.size() - parts.size() + i], parts[i]).page_bytes();
    const size_t positions = layout(device(), parts.back()).positions;
    if (options_.cache_bytes == 0) return (context_ + positions - 1) / positions * default_sequences;
    const size_t pages = options_.cache_bytes / page_bytes;
    if (pages == 0)
      fail(EINVAL, "{} bytes of cache are less than one page of {} bytes", options_.cache_bytes, page_bytes);
    return pages;
  }

  Demand demand_of(const Placement& placement) const {
    const Part& part = placement.parts.back();
    Demand demand = WantedWeights(gguf_, config_, part).demand(device());
    demand.add(placement.pages * layout(device(), part).page_bytes());
    demand += Stage::demand(device(), config_, part, options_.capacity());
    demand += device().step_demand(step_sizes(config_, options_, placement.pages));
    return demand;
  }

  const Gguf& gguf_;
  const Config& config_;
  std::span<const std::unique_ptr<Backend>> backends_;
  const EngineOptions& options_;
  const size_t context_;
};

}  // namespace

std::vector<std::unique_ptr<Backend>> make_backends(const EngineOptions& options) {
  const bool split = options.device_layers != all_layers, on_cpu = options.backend.device == "cpu";
  if (split && on_cpu && options.device_layers != fitting_layers)
    fail(EINVAL, "{} layers were to run on the device, but the device is 'cpu', which runs them all",
         options.device_layers);
  std::vector<std::unique_ptr<Backend>> backends;
  backends.push_back(make_backend(options.backend));
  if (split && !on_cpu) {
    BackendOptions host = options.backend;
    host.device = "cpu";
    backends.insert(backends.begin(), make_backend(host));
  }
  return backends;
}

StepSizes step_sizes(const Config& config, const EngineOptions& options, size_t pages) {
  return {.tokens = options.capacity(),
          .columns = std::max({config.width, config.hidden, config.heads * config.head_size}),
          .pages = pages,
          .group = config.heads / config.kv_heads};
}

Placement place_layers(const Gguf& gguf, const Config& config, std::span<const std::unique_ptr<Backend>> backends,
                       const EngineOptions& options, size_t context) {
  const Placer placer(gguf, config, backends, options, context);
  Placement placement = options.device_layers == fitting_layers
                            ? placer.fitting()
                            : placer.with(std::min(options.device_layers, config.layers));
  placer.check_room(placement);
  return placement;
}

}  // namespace llmos::core
