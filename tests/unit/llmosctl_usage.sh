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
expect 2 error 'pid' revoke x --pid 0
expect 2 error 'required' set x
expect 2 error 'PROGRAM' exec x
expect 2 error 'delay' top --delay 0
expect 2 error 'required' policy attach
expect 2 error 'hook' audit --hook nonsense
expect 2 error 'count' audit --count 0
expect 1 error 'there is no' policy attach no_such_policy
expect 1 error 'is not attached' policy detach no_such_policy
expect 1 error 'is not attached' policy open no_such_policy
expect 1 error 'is no mode' load x --mode rw
expect 1 error 'is no size' load x --bytes many
expect 1 error 'is no page size' load x --page-size 3M
expect 1 error 'names no NUMA nodes' load x --node far
expect 1 error 'no user "nobody-at-all"' load x --owner nobody-at-all
expect 1 error 'about one file' load x y --name z
expect 1 error 'cannot read a signature' load x --sign /nowhere/at/all
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
