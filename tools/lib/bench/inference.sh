# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# Running a model: llmos beside llama.cpp and the read bandwidth, in one interleaved run, on models of Llama 3.2 1B's shape
# with random weights that it writes itself (Q4_0 and Q4_K 0.8 GB, Q8_0 1.3 GB, F16 2.5 GB, one at a time).
#
# usage: tools/bench inference [OPTION]...
#
#   --types LIST      of Q4_0, Q4_K, Q8_0, F16 (default: all)
#   --threads N       (default: one per CPU)
#   --prompt N        tokens read at once (default 512)
#   --tokens N        tokens written one by one after them (default 64)
#   --rounds N        (default 5)
#   --processes LIST  how many hold a model at once, for their memory (default 1,2,4)
#   --no-peer         without llama.cpp
#   --no-huge         without the run on 2 MiB pages
#   --keep            leave the models in the cache
#   --check           exit status 1 when a target of llmos is missed
#   --json            every round and the medians as JSON
#
# llama.cpp is compiled on the first run, for this CPU (minutes), from the sources that tests/bench/inference/peer names,
# and kept. It runs in the two modes it has: "repacked", its default, with quantised weights once more in private memory,
# and "mapped". llmos reads the file from the page cache as the latter does, by its prepared index; "2 MiB pages" is llmos
# with the weights in huge pages, where the kernel's store keeps them. Times to the first token begin when the process is
# asked for.

bench_usage() { sed -n '/^# usage:/,/^$/s/^# \{0,1\}//p' "$folder/$name.sh"; }

options=() peer=yes
while (($#)); do
  case $1 in
    -h | --help) bench_usage; exit ;;
    --types | --threads | --prompt | --tokens | --rounds | --processes) options+=("$1" "${2?"$1 needs a value"}"); shift ;;
    --no-peer) peer=no ;;
    --no-huge | --keep | --check | --json) options+=("$1") ;;
    *) die "unknown option $1; see --help" ;;
  esac
  shift
done

# fetch_peer FOLDER: llama.cpp's sources there, all of them or nothing.
fetch_peer() {
  local work
  work=$(mktemp -d "$cache/llama.cpp.XXXXXX")
  python3 -m pip download --quiet --no-deps --require-hashes --no-binary :all: --dest "$work" -r "$sources/requirements.txt" >&2 ||
    die "llama.cpp cannot be fetched from PyPI; try --no-peer"
  mkdir "$work/source"
  tar -xzf "$work"/*.tar.gz -C "$work/source" --strip-components 3 --wildcards '*/vendor/llama.cpp'
  rm "$work"/*.tar.gz
  mv -T "$work" "$1"
}

# build_peer: sets `peer_program`.
build_peer() {
  local sources=$checkout/tests/bench/inference/peer target fresh=()
  target=$cache/llama.cpp.$(cat "$sources"/{requirements.txt,CMakeLists.txt,tiles.hpp} <(c++ --version) | sha256sum | cut -c1-16)
  if [[ ! -e $target/build/bench_llama_cpp ]]; then note "fetching and compiling llama.cpp; this takes minutes"; fi
  if [[ ! -d $target ]]; then fetch_peer "$target"; fi
  # The folder may have been set up by another checkout, which CMake refuses to go on from.
  if ! grep -qsxF "CMAKE_HOME_DIRECTORY:INTERNAL=$sources" "$target/build/CMakeCache.txt"; then fresh=(--fresh); fi
  if ! { cmake "${fresh[@]}" -G Ninja -S "$sources" -B "$target/build" -DCMAKE_BUILD_TYPE=Release -DLLAMA_CPP="$target/source" &&
    cmake --build "$target/build" --target bench_llama_cpp; } >"$target/build.log" 2>&1; then
    die "llama.cpp could not be compiled; what was said is in $target/build.log"
  fi
  peer_program=$target/build/bench_llama_cpp
}

install_packages "${needed_packages[@]}"
build release bench_inference
if [[ $peer == yes ]]; then
  install_packages python3-pip
  build_peer
  options+=(--peer "$peer_program")
fi
exec python3 -B "$folder/inference.py" --program "$build_dir/tests/bench/inference/bench_inference" --folder "$cache/bench" "${options[@]}"
