#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs into an empty directory and builds against nothing but that: C by pkg-config, C++ by find_package, and what the
# README shows.
# usage: installed.sh BUILD_DIRECTORY README MODEL
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
prefix=$work/prefix

cmake --install "$1" --prefix "$prefix" >"$work/log" || { cat "$work/log"; exit 1; }
libraries=$(dirname "$(find "$prefix" -name libllmos.so)")
export PKG_CONFIG_PATH="$libraries/pkgconfig" LD_LIBRARY_PATH="$libraries"

echo "C, by pkg-config"
${CC:-cc} -Wall -Wextra -Werror "$here/public_header.c" $(pkg-config --cflags --libs llmos) -o "$work/user"
"$work/user"
[ "$(pkg-config --modversion llmos)" = "$("$prefix/bin/llmosctl" version | awk '{print $2}')" ]

echo "C, by the kernel's header alone"
printf '#include <llmos/linux/llmos.h>\nint main(void) { return LLMOS_ABI_VERSION - 1; }\n' >"$work/uapi.c"
${CC:-cc} -Wall -Wextra -Werror "$work/uapi.c" $(pkg-config --cflags llmos) -o "$work/uapi"
"$work/uapi"

echo "C++, by find_package"
cmake -S "$here/find_package" -B "$work/build" -DCMAKE_PREFIX_PATH="$prefix" >"$work/log" &&
  cmake --build "$work/build" >>"$work/log" || { cat "$work/log"; exit 1; }
"$work/build/user"

# example LANGUAGE COMPILER...: the README's example in it is compiled, and, where there is a model, writes something.
example() {
  language=$1
  shift
  echo "the README's example in $language"
  sed -n "/^\`\`\`$language\$/,/^\`\`\`\$/{/^\`\`\`/d;p}" "$readme" >"$work/example.$language"
  "$@" -Wall -Wextra -Werror "$work/example.$language" $(pkg-config --cflags --libs llmos) -o "$work/example"
  [ "$(wc -l <"$work/example.$language")" -lt 30 ]
  if [ ! -e "$model" ]; then return; fi
  ln -sf "$model" "$work/model.gguf"
  (cd "$work" && LLMOS_STORE=memory ./example) >"$work/written"
  [ -s "$work/written" ]
}
readme=$2 model=$3
example c "${CC:-cc}" -std=c99
example cpp "${CXX:-c++}" -std=c++20
