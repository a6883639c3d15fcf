# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# Lanes, in a virtual machine: what a turn costs beside an eventfd and a futex, by io_uring, among many that wait, with and
# without a policy; and the waits and responses of a trace's requests under fair, shortest, deadline and first come first
# served, replayed through real lanes at reduced scale.
#
# usage: tools/bench lanes [OPTION]...
#
#   --kernel NAME   of tools/kernels (default: newest)
#   --rounds N      of the costs (default 5; 0: none)
#   --trace FILE    a CSV file of the Azure traces; may be repeated (default: those of LLMOS_TEST_DATA, if it is there)
#   --requests N    of each trace (default 120)
#   --seconds S     of device time that they need together (default 15)
#   --load X        of that time per time in which they arrive (default 0.9)
#   --json          the results as JSON
#
# The work of a request is sleep, in steps of 20 ms with a report after each. Times under emulation are simulated: only ratios
# between them mean anything, and the output says so.

bench_usage() { sed -n '/^# usage:/,/^$/s/^# \{0,1\}//p' "$folder/$name.sh"; }

kernel=newest program=(/mnt/bench/bench_lanes) traces=()
while (($#)); do
  case $1 in
    -h | --help) bench_usage; exit ;;
    --kernel) kernel=$(kernel_name "${2?"--kernel needs a name"}"); shift ;;
    --trace) traces+=("${2?"--trace needs a file"}"); shift ;;
    --rounds | --requests | --seconds | --load) program+=("$1" "${2?"$1 needs a number"}"); shift ;;
    --json) program+=("$1") ;;
    *) die "unknown option $1; see --help" ;;
  esac
  shift
done

install_packages "${needed_packages[@]}"
build release bench_lanes
policies=$("$tools/policies")
if ((!${#traces[@]})); then
  data=$(sed -n 's/^LLMOS_TEST_DATA:[^=]*=//p' "$build_dir/CMakeCache.txt")
  for trace in "$data"/traces/Azure*.csv; do if [[ -e $trace ]]; then traces+=("$trace"); fi; done
fi
options=(--no-tools --env "LLMOS_HOST_LOAD=$(cut -d " " -f 1-3 /proc/loadavg)" --mem 2G --with "$build_dir/guest-tests/bench" --with "$policies")
for trace in "${traces[@]}"; do
  options+=(--with "$trace")
  program+=(--trace "/mnt/${trace##*/}")
done
exec "$tools/vm" "$kernel" "${options[@]}" -- "${program[@]}"
