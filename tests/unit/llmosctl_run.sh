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
complains $? 'cannot write the output: No space left' "a full disk"
[[ $(wc -l <"$error") == 1 ]] || fail "a full disk is told more than once"

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

# What is no model is told by what was asked for.
for command in 'run -p x' inspect tokenize; do
  for path in /nowhere/at/all.gguf ./nosuch.gguf "./$(printf 'a%.0s' {1..300})"; do
    "$llmosctl" $command "$path" 2>"$error" </dev/null
    complains $? "^llmosctl: cannot open \"$path\": " "$command of a path that is not there"
  done
  for name in missing .missing 'a name' "$(printf 'a%.0s' {1..300})"; do
    "$llmosctl" $command "$name" 2>"$error" </dev/null
    complains $? "^llmosctl: \"$name\" is neither a model in the store nor a file$" "$command of $name, which is not there"
  done
  "$llmosctl" $command "$models/stories260K.expected.txt" 2>"$error" </dev/null
  complains $? "^llmosctl: $models/stories260K.expected.txt: .*GGUF" "$command of a file that is no model"
  "$llmosctl" $command "$models" 2>"$error" </dev/null
  complains $? 'is a directory' "$command of a directory"
done

# A file by its name alone, also one that no model could have.
cp "$model" "$folder/my model (1).gguf"
[[ $(cd "$folder" && timeout 60 "$llmosctl" run "my model (1).gguf" --temp 0 --raw -n 5 2>"$error") == "${expected:0:5}"* ]] ||
  fail "a file of a name with blanks"

run -p 'Once upon a time there was a little girl' -c 4 >/dev/null
complains $? 'outgrow the context of 4; -c says' "a context that is too small"

# ---- JSON ----
# json COMMAND TEST: what it prints is JSON of which TEST holds, by Python's name j.
json() {
  python3 -c "import json, sys; j = json.load(sys.stdin); sys.exit(not ($1))" || fail "not so of the JSON: $1"
}
run --json --temp 0 -p 'Once upon' -n 2 | json "j['text'] == ' a time' and j['prompt'] == 'Once upon' and
  j['finish'] == 'length' and j['tokens'] == 2 and j['prompt_tokens'] == 3 and j['tokens_per_second'] > 0 and
  j['prompt_seconds'] > 0 and j['model'] == '$model'"
[[ ! -s $error ]] || fail "--json says more on standard error"
run --json --temp 0 -n 200 -r 'big, red' | json "j['finish'] == 'stop_string' and j['text'].endswith('she saw a ')"
said=$(interrupt reading "$llmosctl" run --json "$model" --temp 0 -n 0 -c 100000 --ignore-eos 2>"$error")
[[ $said == 130* ]] || fail "Ctrl-C with --json: $said"
tokenize() { printf 'héllo 🦙' | "$llmosctl" tokenize "$model" "$@" 2>"$error"; }
tokenize >"$folder/table" || fail "tokenize of a character that is no token"
tokenize --json | json "[t['id'] for t in j] == [int(t) for t in '$(tokenize --ids)'.split()] and j[0]['text'] == '<s>' and
  ''.join(t['text'] for t in j).startswith('<s> héllo ')"
tokenize --json --ids | json "j == [int(t) for t in '$(tokenize --ids)'.split()] and len(j) == $(wc -l <"$folder/table")"
for i in {1..2000}; do echo "a word $i"; done | "$llmosctl" tokenize "$model" >/dev/full 2>"$error"
complains $? '^llmosctl: cannot write the output: No space left on device$' "tokenize on a full disk"
"$llmosctl" --json inspect "$model" | json "j['architecture'] == 'llama' and j['bytes'] == $(stat -c %s "$model")"
exit $failed
