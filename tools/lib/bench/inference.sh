# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# Running a model: llmos beside llama.cpp (its repacked and its shared mode) and the read bandwidth, in one interleaved
# run, on models of Llama 3.2 1B's shape with random weights that it writes itself.
#
# usage: tools/bench inference [OPTION]...
#
#   --types LIST    of Q4_0, Q4_K, Q8_0, F16 (default: all)
#   --threads N     (default: one per CPU)
#   --prompt N      tokens read at once (default 512)
#   --tokens N      tokens written one by one (default 32)
#   --rounds N      (default 5)
#   --no-peer       without llama.cpp, which is compiled on the first run
#   --json          the medians as JSON

bench_usage() { sed -n '/^# usage:/,/^$/s/^# \{0,1\}//p' "$folder/$name.sh"; }

options=() peer=yes
while (($#)); do
  case $1 in
    -h | --help) bench_usage; exit ;;
    --types | --threads | --prompt | --tokens | --rounds) options+=("$1" "${2?"$1 needs a value"}"); shift ;;
    --no-peer) peer=no ;;
    --json) options+=("$1") ;;
    *) die "unknown option $1; see --help" ;;
  esac
  shift
done

install_packages "${needed_packages[@]}" python3-venv
build release bench_inference oracle_probe
if [[ $peer == yes ]]; then
  venv=$build_dir/oracle-venv
  "$checkout/tests/oracle/run" "$venv" "$build_dir/tests/oracle/oracle_probe" --help >/dev/null || die "llama.cpp cannot be had; try --no-peer"
  options+=(--python "$venv/bin/python")
fi
exec python3 "$folder/inference.py" --program "$build_dir/tests/bench/bench_inference" \
  --folder "${LLMOS_CACHE:-$HOME/.cache/llmos}/bench" "${options[@]}"
