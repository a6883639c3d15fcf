#!/bin/bash
# SPDX-License-Identifier: MIT
# llmosctl run with a real small model: its text, and how it ends. Exit status 77: there is no such model in DATA or LLMOS_TEST_DATA.
# usage: llmosctl_run.sh LLMOSCTL TOOLS DATA
set -u
llmosctl=$1 failed=0
models=${LLMOS_TEST_DATA:-$3}/models
model=$models/stories260K-F32.gguf
if [[ ! -e $model ]]; then echo "there is no $model"; exit 77; fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
error=$folder/error

fail() {
  echo "$*; on standard error: $(<"$error")"
  failed=1
}

# complains STATUS PART CASE: the command ended with 1 and said PART.
complains() {
  if [[ $1 != 1 ]] || ! grep -q "$2" "$error"; then fail "$3: status $1"; fi
}

# run OPTION...: the text, and what is said in $error; not for ever, whatever it does.
run() { timeout 60 "$llmosctl" run "$model" "$@" 2>"$error"; }

expected=$(<"$models/stories260K.expected.txt")
[[ $(run --temp 0 --raw -n 200) == "$expected" ]] || fail "another text than the known one"
grep -q 'tokens/s$' "$error" || fail "no speed"
[[ $(run --temp 0 --raw -n 1; echo .) == *[^$'\n']. ]] || fail "--raw: something after the text"
[[ $(run --temp 0 -p 'Once upon' -n 2) == 'Once upon a time' ]] || fail "the prompt is not shown before the text"
[[ $(echo -n 'Once upon' | run --temp 0 --stdin --raw -n 2) == ' a time' ]] || fail "another text after a prompt on standard input"
[[ $(run --temp 0 --raw -n 200 -r 'big, red') == *'she saw a ' ]] || fail "a stop string did not end the text before itself"
[[ $(run --temp 0 --raw -n -1 -c 64 | wc -c) -gt 50 ]] || fail "-n -1 is not to the end"
[[ $(run --raw -n 30 --temp 2 -s 5) == "$(run --raw -n 30 --temp 2 -s 5)" ]] || fail "a seed gave two texts"
[[ $(run --raw -n 60 --temp 2 -s -1) != "$(run --raw -n 60 --temp 2 -s -1)" ]] || fail "seed -1 gave one text twice"

# Nobody reads any more: it ends, and says nothing, as other tools do.
run --temp 0 --raw -n 0 -c 100000 --ignore-eos | head -c 20 >/dev/null
[[ ${PIPESTATUS[0]} == 141 && ! -s $error ]] || fail "a broken pipe: status ${PIPESTATUS[0]}"

run --temp 0 --raw -n 0 -c 100000 --ignore-eos >/dev/full
complains $? 'cannot write the text: No space left' "a full disk"

# interrupt writing|reading COMMAND...: SIGINT while it does; prints its status and what it said. The shell lets background
# jobs ignore SIGINT, so it is python that starts it.
interrupt() {
  python3 - "$@" <<'PYTHON'
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
when, command = sys.argv[1], sys.argv[2:]
pipe = subprocess.PIPE
process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
if when == "writing":
    process.stdout.read(40)
else:
    time.sleep(1)
process.send_signal(signal.SIGINT)
try:
    if when == "reading":
        process.wait(20)  # with its standard input open
    error = process.communicate(timeout=20)[1].decode()
except subprocess.TimeoutExpired:
    process.kill()
    sys.exit("it went on")
print(process.returncode, error.strip())
PYTHON
}

said=$(interrupt writing "$llmosctl" run "$model" --temp 0 --raw -n 0 -c 100000 --ignore-eos 2>"$error")
[[ $said == '130 '*'tokens/s' ]] || fail "Ctrl-C while it writes: $said"
said=$(interrupt reading "$llmosctl" run "$model" --stdin 2>"$error")
[[ $said == '-2'* ]] || fail "Ctrl-C while it reads the prompt: $said"

"$llmosctl" run /nowhere/at/all.gguf -p x 2>"$error"
complains $? /nowhere/at/all.gguf "a model that is not there"
"$llmosctl" run "$models/stories260K.expected.txt" -p x 2>"$error"
complains $? GGUF "a file that is no model"
exit $failed
