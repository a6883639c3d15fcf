# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# CPUs for a lane's holder beside hogs, in a virtual machine: how long its steps take (p50, p99), how many it does, and what is
# left to the hogs, under EEVDF, with nice -10, with cpu.weight 10000, and under scx_llmos where the kernel has sched_ext.
#
# usage: tools/bench scheduling [OPTION]...
#
#   --kernel NAME   of tools/kernels (default: newest)
#   --rounds N      (default 5)
#   --hogs N        for each of the two CPUs (default 2)
#   --seconds S     of each measurement (default 4)
#   --json          the results as JSON
#
# A step is a turn of the holder: twice, its device works for 1 ms, which is sleep, and two threads of it compute for 1 ms.
# Times under emulation are simulated: only ratios between them mean anything, and the output says so.

bench_usage() { sed -n '/^# usage:/,/^$/s/^# \{0,1\}//p' "$folder/$name.sh"; }

kernel=newest program=(/mnt/bench/bench_scheduling)
while (($#)); do
  case $1 in
    -h | --help) bench_usage; exit ;;
    --kernel) kernel=$(kernel_name "${2?"--kernel needs a name"}"); shift ;;
    --rounds | --hogs | --seconds) program+=("$1" "${2?"$1 needs a number"}"); shift ;;
    --json) program+=("$1") ;;
    *) die "unknown option $1; see --help" ;;
  esac
  shift
done

install_packages "${needed_packages[@]}"
build release bench_scheduling
policies=$("$tools/policies")
exec "$tools/vm" "$kernel" --no-tools --env "LLMOS_HOST_LOAD=$(cut -d " " -f 1-3 /proc/loadavg)" --mem 2G --with "$build_dir/guest-tests/bench" --with "$policies" -- "${program[@]}"
