#!/bin/bash
# SPDX-License-Identifier: MIT
# A policy's name becomes a path below /sys/fs/bpf/llmos: what is no such name never does. Where a mount namespace can be
# made, pins are there that could be lost.
# usage: llmosctl_policy.sh LLMOSCTL TOOLS
set -u
llmosctl=$1 failed=0

fail() {
  echo "$*"
  failed=1
}

# refused PART ARGUMENT...: exit status 2, and PART on standard error.
refused() {
  local part=$1 said status
  shift
  said=$("$llmosctl" policy "$@" 2>&1 >/dev/null)
  status=$?
  [[ $status == 2 && $said == *"$part"* ]] || fail "policy $*: status $status, $said"
}

all() {
  for command in attach detach open close; do
    for name in .. . '' a.b a-b 'a b' $'a\n' 'ä'; do refused 'is no name of a policy' "$command" "$name"; done
    refused 'the maps of "fair"' "$command" fair_maps
  done
  for command in detach open close; do
    for name in / ../.. fair/.. /sys/fs/bpf/other; do refused 'is no name of a policy' "$command" "$name"; done
  done
  # By file: its name would be "..", ".", "a-b", "fair_maps".
  for file in /x/...bpf.o ./..bpf.o ./a-b.bpf.o ./fair_maps.bpf.o ./.. /x/; do
    refused 'is no name of a policy' attach "$file"
  done
}

if [[ ${3-} == inside ]]; then
  mount -t tmpfs none /sys/fs/bpf || exit 77
  mkdir -p /sys/fs/bpf/{other,llmos/fair,llmos/fair_maps}
  touch /sys/fs/bpf/llmos/fair/lane_key
  before=$(find /sys/fs/bpf)
  all
  [[ $(find /sys/fs/bpf) == "$before" ]] || fail "of the pins these are left: $(find /sys/fs/bpf | tr "\n" " ")"
  "$llmosctl" policy detach fair || fail "a policy cannot be detached"
  [[ $(echo /sys/fs/bpf/llmos/* /sys/fs/bpf/other) == '/sys/fs/bpf/llmos/* /sys/fs/bpf/other' ]] ||
    fail "after detach: $(find /sys/fs/bpf | tr "\n" " ")"
  exit $failed
fi

all
if unshare --user --map-root-user --mount bash -c 'mount -t tmpfs none /sys/fs/bpf' 2>/dev/null; then
  unshare --user --map-root-user --mount bash "$0" "$llmosctl" "$2" inside || failed=1
else
  echo "no mount namespace here: tested without pins"
fi
exit $failed
