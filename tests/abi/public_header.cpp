// SPDX-License-Identifier: MIT
// The C++ header stands alone, and links with nothing but the shared library.
#include <llmos/llmos.hpp>

int main() {
  const llmos::Store store = llmos::Store::memory();
  return store.info().abi == LLMOS_ABI_VERSION && !llmos::nodes().empty() ? 0 : 1;
}
