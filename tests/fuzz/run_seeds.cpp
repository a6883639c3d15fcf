// SPDX-License-Identifier: MIT
// Runs a fuzz target over files, without libFuzzer: a regression test over the seeds and over what fuzzing once found.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  int files = 0;
  for (int index = 1; index < argc; ++index) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[index])) {
      std::ifstream file(entry.path(), std::ios::binary);
      const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
      LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
      // Cut anywhere and with any byte flipped it must be as harmless.
      for (size_t cut = 0; cut < std::min<size_t>(bytes.size(), 4096); ++cut) {
        std::vector<char> changed(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(cut));
        LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(changed.data()), changed.size());
        changed = bytes;
        changed[cut] = static_cast<char>(~changed[cut]);
        LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(changed.data()), changed.size());
      }
      ++files;
    }
  }
  std::printf("%d seeds\n", files);
  return files > 0 ? 0 : 1;
}
