// SPDX-License-Identifier: MIT
#include "system/topology.hpp"

#include <fmt/format.h>
#include <numa.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <memory>

namespace llmos::core {
namespace {

constexpr int kMaskBits = 64;  // LLMOS_NODES_MAX

std::vector<int> cpus_of(int node) {
  std::vector<int> cpus;
  const std::unique_ptr<bitmask, decltype(&::numa_free_cpumask)> mask(::numa_allocate_cpumask(), ::numa_free_cpumask);
  if (mask && ::numa_node_to_cpus(node, mask.get()) == 0)
    for (unsigned cpu = 0; cpu < mask->size; ++cpu)
      if (::numa_bitmask_isbitset(mask.get(), cpu)) cpus.push_back(static_cast<int>(cpu));
  return cpus;
}

Node whole_machine() {
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  Node node{0,
            page * static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)),
            page * static_cast<uint64_t>(::sysconf(_SC_AVPHYS_PAGES)),
            {}};
  for (int cpu = 0; cpu < ::sysconf(_SC_NPROCESSORS_ONLN); ++cpu) node.cpus.push_back(cpu);
  return node;
}

// A number in a file, or `otherwise` when the file is absent or says "max".
uint64_t number_in(const std::filesystem::path& file, uint64_t otherwise) {
  uint64_t value = 0;
  return std::ifstream(file) >> value ? value : otherwise;
}

uint64_t available_in_machine() {
  std::ifstream meminfo("/proc/meminfo");
  for (std::string key; meminfo >> key; meminfo.ignore(std::numeric_limits<std::streamsize>::max(), '\n')) {
    uint64_t kilobytes = 0;
    if (key == "MemAvailable:" && meminfo >> kilobytes) return kilobytes << 10;
  }
  return std::numeric_limits<uint64_t>::max();
}

// This process's directory in cgroup v2, or an empty path.
std::filesystem::path cgroup_directory() {
  std::ifstream lines("/proc/self/cgroup");
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("0::")) return "/sys/fs/cgroup" + line.substr(3);
  return {};
}

uint64_t available_in_cgroups() {
  constexpr uint64_t unlimited = std::numeric_limits<uint64_t>::max();
  uint64_t available = unlimited;
  for (auto path = cgroup_directory(); path.has_relative_path() && path != "/sys/fs/cgroup";
       path = path.parent_path()) {
    const uint64_t limit = number_in(path / "memory.max", unlimited);
    const uint64_t used = number_in(path / "memory.current", 0);
    if (limit != unlimited) available = std::min(available, limit - std::min(limit, used));
  }
  return available;
}

}  // namespace

std::vector<Node> nodes() {
  if (::numa_available() < 0) return {whole_machine()};
  std::vector<Node> found;
  for (int id = 0; id <= ::numa_max_node(); ++id) {
    if (!::numa_bitmask_isbitset(::numa_all_nodes_ptr, static_cast<unsigned>(id))) continue;
    long long free = 0;
    const long long bytes = std::max(0LL, ::numa_node_size64(id, &free));
    found.push_back({id, static_cast<uint64_t>(bytes), static_cast<uint64_t>(std::max(0LL, free)), cpus_of(id)});
  }
  return found;
}

int local_node() {
  unsigned cpu = 0, node = 0;
  return ::getcpu(&cpu, &node) == 0 ? static_cast<int>(node) : 0;
}

uint64_t memory_nodes() {
  uint64_t mask = 0;
  for (const Node& node : nodes())
    if (node.bytes > 0 && node.id < kMaskBits) mask |= uint64_t{1} << node.id;
  return mask;
}

std::string node_list(uint64_t mask) {
  std::string list;
  for (int first = 0; first < kMaskBits; ++first) {
    if (!(mask >> first & 1)) continue;
    int last = first;
    while (last + 1 < kMaskBits && (mask >> (last + 1) & 1)) ++last;
    if (!list.empty()) list += ',';
    list += first == last ? fmt::format("{}", first) : fmt::format("{}-{}", first, last);
    first = last;
  }
  return list;
}

uint64_t available_memory() { return std::min(available_in_machine(), available_in_cgroups()); }

}  // namespace llmos::core
