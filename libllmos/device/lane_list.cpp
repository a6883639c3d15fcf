// SPDX-License-Identifier: MIT
// The lanes of the machine, found where the kernel shows a process's descriptors: as far as the caller may look.
#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>

#include "device/device.hpp"
#include "system/error.hpp"

namespace llmos::core {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStates[] = {"idle", "waiting", "holding", "gone"};

template <typename Number>
void read_number(std::string_view text, Number& number) {
  std::from_chars(text.data(), text.data() + text.size(), number);
}

template <size_t kSize>
void read_text(std::string_view text, char (&field)[kSize]) {
  field[text.copy(field, kSize - 1)] = 0;
}

void read_field(std::string_view key, std::string_view value, struct llmos_lane_stat& lane) {
  if (key == "lane") return read_number(value, lane.id);
  if (key == "device") return read_text(value, lane.device);
  if (key == "name") return read_text(value, lane.name);
  if (key == "group") return read_number(value, lane.cgroup);
  if (key == "weight") return read_number(value, lane.weight);
  if (key == "class") return read_number(value, lane.lane_class);
  if (key == "deadline-ns") return read_number(value, lane.deadline_ns);
  if (key == "cost-ns") return read_number(value, lane.cost_ns);
  if (key == "slice-ns") return read_number(value, lane.slice_ns);
  if (key == "used-ns") return read_number(value, lane.used_ns);
  if (key == "waited-ns") return read_number(value, lane.waited_ns);
  if (key == "turns") return read_number(value, lane.turns);
  if (key == "overruns") return read_number(value, lane.overruns);
  if (key == "lost") return read_number(value, lane.lost);
  if (key == "state")
    for (uint32_t state = 0; state < std::size(kStates); state++)
      if (value == kStates[state]) lane.state = state;
}

}  // namespace

// Lines "llmos-KEY:\tVALUE" among those that every descriptor has. An id of 0: it is no lane.
struct llmos_lane_stat read_lane_fdinfo(std::istream& in) {
  constexpr std::string_view prefix = "llmos-";
  struct llmos_lane_stat lane {};
  lane.size = sizeof(lane);
  for (std::string line; std::getline(in, line);) {
    const size_t colon = line.find(":\t");
    if (!line.starts_with(prefix) || colon == line.npos) continue;
    const std::string_view text = line;
    read_field(text.substr(prefix.size(), colon - prefix.size()), text.substr(colon + 2), lane);
  }
  return lane;
}

// A process that ends meanwhile, or must not be looked into, shows nothing.
std::vector<LaneOfProcess> lanes() {
  { const Fd known = open_devices(); }  // says in words what is wrong
  std::vector<LaneOfProcess> found;
  std::set<uint64_t> seen;
  std::error_code ignored;
  for (const auto& process : fs::directory_iterator("/proc", ignored)) {
    pid_t pid = 0;
    read_number(process.path().filename().native(), pid);
    if (pid == 0) continue;
    for (fs::directory_iterator fd(process.path() / "fd", ignored), end; !ignored && fd != end; fd.increment(ignored)) {
      if (fs::read_symlink(fd->path(), ignored) != "anon_inode:[llmos-lane]") continue;
      std::ifstream info(process.path() / "fdinfo" / fd->path().filename());
      const struct llmos_lane_stat lane = read_lane_fdinfo(info);
      if (lane.id != 0 && seen.insert(lane.id).second) found.push_back({lane, pid});
    }
  }
  return found;
}

}  // namespace llmos::core
