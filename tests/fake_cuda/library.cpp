// SPDX-License-Identifier: MIT
#include "fake_cuda/library.hpp"

#include <algorithm>
#include <utility>

#include "fake_cuda/driver.hpp"

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
  return submit(stream, [held, work = std::move(work)] { return held() ? work() : Result{illegal_address}; });
}

}  // namespace fake_cuda
