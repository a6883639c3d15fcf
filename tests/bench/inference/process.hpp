// SPDX-License-Identifier: MIT
// What a process can say of itself. Used by llmos and by its peer, so it needs nothing of either.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iostream>
#include <string>

namespace llmos::bench {

inline double seconds(const timespec& t) {
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

inline double now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return seconds(t);
}

// Of all threads.
inline double cpu_now() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return seconds(t);
}

// Wall time, and how much of their processors the threads got: less than 1 when others took them away.
class Stopwatch {
 public:
  double wall() const { return now() - wall_; }
  double share(unsigned threads) const { return (cpu_now() - cpu_) / wall() / threads; }

 private:
  double wall_ = now(), cpu_ = cpu_now();
};

struct MemoryUse {
  uint64_t anonymous = 0;  // KiB that this process has alone
  uint64_t resident = 0, proportional = 0;
  uint64_t anonymous_of_file = 0;  // private copies within mappings of the model
};

inline MemoryUse memory_use(const std::string& path) {
  MemoryUse use;
  std::ifstream smaps("/proc/self/smaps");
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    const size_t colon = line.find(": ");
    if (colon == std::string::npos || line.find('-') < colon) {
      inside = line.size() > path.size() && line.compare(line.size() - path.size(), path.size(), path) == 0;
      continue;
    }
    const uint64_t value = std::strtoull(line.c_str() + colon + 1, nullptr, 10);
    const std::string field = line.substr(0, colon);
    if (field == "Rss") use.resident += value;
    if (field == "Pss") use.proportional += value;
    if (field == "Anonymous") use.anonymous += value;
    if (field == "Anonymous" && inside) use.anonymous_of_file += value;
  }
  return use;
}

// "ready" when the model is attached; the memory at the next line of standard input; the end with standard input.
inline void hold_until_told(const std::string& path) {
  std::cout << "ready" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const MemoryUse use = memory_use(path);
    std::printf(
        "{\"private_kib\": %llu, \"shared_kib\": %llu, \"pss_kib\": %llu, \"private_of_file_kib\": %llu}\n",
        static_cast<unsigned long long>(use.anonymous), static_cast<unsigned long long>(use.resident - use.anonymous),
        static_cast<unsigned long long>(use.proportional), static_cast<unsigned long long>(use.anonymous_of_file));
    std::fflush(stdout);
  }
}

}  // namespace llmos::bench
