#!/bin/bash
# SPDX-License-Identifier: MIT
# Exit statuses, streams and messages that need no module.
# usage: llmosctl_usage.sh LLMOSCTL TOOLS
set -u
llmosctl=$1 failed=0

# expect STATUS STREAM PART ARGUMENT...: the command ends with STATUS and says PART on that stream.
expect() {
  local status=$1 stream=$2 part=$3 out error said
  shift 3
  error=$(mktemp)
  out=$("$llmosctl" "$@" 2>"$error")
  local got=$?
  [[ $stream == out ]] && said=$out || said=$(<"$error")
  rm "$error"
  if [[ $got != "$status" || $said != *"$part"* ]]; then
    echo "llmosctl $*: status $got, on $stream: $said"
    echo "  expected: status $status and \"$part\""
    failed=1
  fi
}

expect 0 out 'llmosctl 0.' --version
expect 0 out '"abi": 1' version --json
expect 0 out '"abi": 1' --json version
expect 0 out 'Put model files' load --help
expect 2 error 'subcommand' # nothing at all
expect 2 error 'nonsense' nonsense
expect 2 error 'FILE' load
expect 2 error 'priority' load x --priority high
expect 2 error 'required' revoke x
expect 2 error '' revoke x --pid 1 --uid 2
for pid in 0 -1 99999999999999999999; do expect 2 error 'not in range 1 to 2147483647' revoke x --pid "$pid"; done
expect 2 error 'required' set x
expect 2 error 'PROGRAM' exec x
expect 2 error 'delay' top --delay 0
expect 2 error 'required' policy attach
expect 2 error 'hook' audit --hook nonsense
for count in 0 -1 99999999999999999999; do expect 2 error 'not in range 1 to 1000000000000' audit --count "$count"; done
expect 2 error 'evictable excludes' set x --evictable --no-evictable
expect 2 error 'At least 1 option from [--memory,--slots]' device set x
expect 2 error '0 is no capacity' device set x --memory 0
expect 2 error '0 is no capacity' device add x --memory 0K
expect 2 error 'is no size' device set x --memory much
expect 1 error 'there is no' policy attach no_such_policy
expect 1 error 'is not attached' policy detach no_such_policy
expect 1 error 'is not attached' policy open no_such_policy
for mode in rw 9 1777; do expect 2 error 'is no mode' load x --mode "$mode"; done
for bytes in many -1 1.5G; do expect 2 error 'is no size' load x --bytes "$bytes"; done
for size in 3M 0 x; do expect 2 error 'is no' load x --page-size "$size"; done
for node in far x 0-; do expect 2 error 'names no NUMA nodes' load x --node "$node"; done
expect 1 error 'no user "nobody-at-all"' load x --owner nobody-at-all
for option in name bytes sign; do expect 2 error 'about one file' load x y "--$option" 5; done
expect 1 error 'cannot read a signature' load x --sign /nowhere/at/all

# Of run all that needs no model to be seen.
while read -r option value; do
  expect 2 error "$option" run x "$option" "$value"
done <<'OPTIONS'
--predict -2
--predict 99999999999999999999
--temp -1
--temp nan
--temp inf
--seed -2
--seed 99999999999999999999
--top-k -1
--top-p 2
--top-p 0
--min-p -0.1
--min-p 1.5
--repeat-penalty 0
--frequency-penalty nan
--presence-penalty inf
--repeat-last-n -2
--ctx-size -1
--ctx-size 99999999999999999999
--cache-type q4
--device foo
--device cuda:
--device cuda:x
--device-layers 0
OPTIONS

# A command prints JSON, or says that it has none.
while read -r command; do
  expect 2 error 'and no JSON' --json $command
  expect 2 error 'and no JSON' $command --json
done <<'SILENT'
rm x
set x --priority 1
evict x
allow x --pid 1
device add x
device set x --slots 2
device rm x
group set g memory.max cpu 1
policy attach fair
policy detach fair
policy open fair
policy close fair
SILENT
expect 2 error 'and no JSON' --json exec x -- true

# What is printed and does not arrive is no success.
full() {
  local said status
  said=$("$llmosctl" "$@" 2>&1 >/dev/full)
  status=$?
  [[ $status == 1 && $said == 'llmosctl: cannot write the output: No space left on device' ]] ||
    { echo "llmosctl $*, on a full disk: status $status, $said"; failed=1; }
  said=$("$llmosctl" "$@" 2>&1 >&-)
  status=$?
  [[ $status == 1 && $said == 'llmosctl: cannot write the output: Bad file descriptor' ]] ||
    { echo "llmosctl $*, on a closed output: status $status, $said"; failed=1; }
}
full version
full version --json
full --version
full --help
full run --help
full doctor
full doctor --json
[[ $("$llmosctl" rm x 2>&1 >&-) != *output* ]] || { echo "rm prints nothing that could be lost"; failed=1; }

LLMOS_STORE=memory expect 1 error 'LLMOS_STORE' ls
if [[ ! -e /dev/llmos ]]; then
  expect 1 error 'modprobe llmos' ls
  expect 1 error 'modprobe llmos' lane ls
  expect 1 error 'modprobe llmos' top --once
  expect 1 error 'module is not loaded' policy ls
  expect 1 error 'module is not loaded' audit
  expect 1 out 'fail  module' doctor
  expect 1 out '"level": "fail"' doctor --json
fi
exit $failed
