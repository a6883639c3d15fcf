#!/bin/bash
# SPDX-License-Identifier: MIT
# Every command and every long option that llmosctl --help names is in the three completions and in the manual, and the
# completions work in those shells that are here.
# usage: llmosctl_completion.sh LLMOSCTL TOOLS
set -eu
llmosctl=$1 tools=$2 failed=0
files=("$tools"/completion/{llmosctl.bash,_llmosctl,llmosctl.fish} "$tools/man/llmosctl.1")

missing() {
  echo "$1 is not in ${2##*/}"
  failed=1
}

commands=$("$llmosctl" --help | sed -n '/^Subcommands:/,/^$/s/^  \([a-z]\{1,\}\) .*/\1/p')
[[ $(wc -w <<<"$commands") -ge 13 ]] || { echo "llmosctl --help was not understood"; exit 1; }
for command in $commands; do
  options=$("$llmosctl" "$command" --help | grep -o -- '--[a-z][a-z-]*' | sort -u)
  for file in "${files[@]}"; do
    grep -qw -- "$command" "$file" || missing "$command" "$file"
    for option in $options; do
      # fish writes "-l name", the manual "\-name".
      grep -qE -- "(--|-l |\\\\-)${option#--}\b" "$file" || missing "$command $option" "$file"
    done
  done
done

# bash lists the folder of those that are installed.
for policy in "$tools"/../bpf/*.bpf.c; do
  policy=$(basename "$policy" .bpf.c)
  for file in "$tools"/completion/{_llmosctl,llmosctl.fish}; do
    grep -qw -- "$policy" "$file" || missing "policy $policy" "$file"
  done
done

bash -c "source $tools/completion/llmosctl.bash; complete -p llmosctl" >/dev/null || failed=1
words=$(bash -c "source $tools/completion/llmosctl.bash
  COMP_WORDS=(llmosctl re) COMP_CWORD=1; _llmosctl; echo \${COMPREPLY[@]}
  COMP_WORDS=(llmosctl revoke x --k) COMP_CWORD=3; _llmosctl; echo \${COMPREPLY[@]}
  COMP_WORDS=(llmosctl load --ev) COMP_CWORD=2; _llmosctl; echo \${COMPREPLY[@]}
  COMP_WORDS=(llmosctl device set x --memory '') COMP_CWORD=5; _llmosctl; echo \${COMPREPLY[@]}
  COMP_WORDS=(llmosctl group set x time.weight de) COMP_CWORD=5; _llmosctl; echo \${COMPREPLY[@]}" | tr '\n' ' ')
[[ $words == "revoke --keep-access --evictable max auto default " ]] || { echo "bash completed: $words"; failed=1; }
if command -v zsh >/dev/null; then
  zsh -n "$tools/completion/_llmosctl" || failed=1
  # Its specifications in place of its menus: what "group set x time.weight" goes on with.
  words=$(zsh -fc 'compdef() { }; _arguments() { print -rl -- "$@"; state=argument; [[ $1 != -C ]] }
    _alternative() { print -rl -- "$@"; }
    words=(group); source "$1"; _llmosctl_group_devices' zsh "$tools/completion/_llmosctl")
  [[ $words == *'4:device:_llmosctl_group_devices'*'(default)'* ]] || { echo "zsh would complete: $words"; failed=1; }
fi
if command -v fish >/dev/null; then
  words=$(fish --no-config -c "source $tools/completion/llmosctl.fish; complete -C 'llmosctl rev'" | cut -f1)
  [[ $words == revoke ]] || { echo "fish completed: $words"; failed=1; }
  words=$(fish --no-config -c "source $tools/completion/llmosctl.fish; complete -C 'llmosctl device set x --memory '; complete -C 'llmosctl group set x time.weight de'" | cut -f1)
  [[ $(echo $words) == *auto*max*default* || $(echo $words) == *max*auto*default* ]] || { echo "fish completed: $words"; failed=1; }
fi
exit $failed
