# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2154
# Memory that holds a model for several processes: llmos beside a hugetlbfs file, sealed memfds, an fs-verity file and
# the plain page cache, in one run in a virtual machine.
#
# usage: tools/bench model-memory [OPTION]...
#
#   --kernel NAME   of tools/kernels (default: newest)
#   --size MIB      of the model (default 256)
#   --rounds N      (default 5)
#   --mem SIZE      memory of the machine (default 3G; it has to hold about seven models)
#   --json          the results as JSON, with medians and extremes of all rounds
#
# Times under emulation are simulated: only ratios between them mean anything, and the output says so.

bench_usage() { sed -n '/^# usage:/,/^$/s/^# \{0,1\}//p' "$folder/$name.sh"; }

kernel=newest mem=3G program=(/mnt/bench/bench_model_memory)
while (($#)); do
  case $1 in
    -h | --help) bench_usage; exit ;;
    --kernel) kernel=$(kernel_name "${2?"--kernel needs a name"}"); shift ;;
    --mem) mem=${2?"--mem needs a size"}; shift ;;
    --size | --rounds) program+=("$1" "${2?"$1 needs a number"}"); shift ;;
    --json) program+=("$1") ;;
    *) die "unknown option $1; see --help" ;;
  esac
  shift
done

install_packages "${needed_packages[@]}"
build release bench_model_memory
exec "$tools/vm" "$kernel" --no-tools --env "LLMOS_HOST_LOAD=$(cut -d " " -f 1-3 /proc/loadavg)" --mem "$mem" --with "$build_dir/guest-tests/bench" -- "${program[@]}"
