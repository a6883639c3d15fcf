#!/bin/bash
# SPDX-License-Identifier: MIT
# What ptxas said when it compiled the kernels: none may spill registers or keep a stack, for any architecture.
#
# usage: image_gate.sh LOG KERNELS ARCHITECTURES
set -euo pipefail
log=$1 kernels=$2 architectures=$3
compiled=$(grep -c 'Function properties for llmos_' "$log") || true
if ((compiled != kernels * architectures)); then
  echo "$compiled kernels in $log, and there should be $kernels for each of $architectures architectures" >&2
  exit 1
fi
if grep -A1 'Function properties for llmos_' "$log" | grep -B1 -E '[1-9][0-9]* bytes (stack|spill)' >&2; then
  echo "these kernels spill" >&2
  exit 1
fi
echo "$kernels kernels, $architectures architectures: no spills, no stack; most registers: $(grep -oE 'Used [0-9]+' "$log" | sort -nk2 | tail -n 1)"
