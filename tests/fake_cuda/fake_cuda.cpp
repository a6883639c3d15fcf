// SPDX-License-Identifier: MIT
// What tests set and ask.
#include "fake_cuda/fake_cuda.hpp"

#include <cstdlib>
#include <utility>

#include "fake_cuda/driver.hpp"

namespace fake_cuda {

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
