# SPDX-License-Identifier: MIT
# bash completion for llmosctl

_llmosctl() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local models=/sys/fs/llmos/models command='' word i
  local commands='load ls stat rm set evict verify grants revoke allow exec run tokenize inspect prepare device group lane policy audit top doctor version'

  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    [[ $word == -* ]] && continue
    command=$word
    break
  done

  case $previous in
    --owner | --uid) COMPREPLY=($(compgen -u -- "$current")); return ;;
    --group) COMPREPLY=($(compgen -g -- "$current")); return ;;
    --pid) COMPREPLY=($(compgen -W "$(cd /proc && echo [0-9]*)" -- "$current")); return ;;
    --node) COMPREPLY=($(compgen -W 'local interleave' -- "$current")); return ;;
    --page-size) COMPREPLY=($(compgen -W '2M 64K 4K' -- "$current")); return ;;
    --sign) compopt -o default; COMPREPLY=(); return ;;
    --cgroup) compopt -o nospace; COMPREPLY=($(cd /sys/fs/cgroup 2>/dev/null && compgen -S / -d -- "$current")); return ;;
    --cache-type) COMPREPLY=($(compgen -W 'f16 q8_0' -- "$current")); return ;;
    --device-layers) COMPREPLY=($(compgen -W 'all auto' -- "$current")); return ;;
    --device) COMPREPLY=($(compgen -W 'cpu cuda:0' -- "$current")); return ;;
    --hook) COMPREPLY=($(compgen -W 'lane_key lane_slice evict_score admit' -- "$current")); return ;;
    --memory) COMPREPLY=($(compgen -W 'max auto' -- "$current")); return ;;
    --count | --slots | --name | --mode | --priority | --bytes | --threads | --delay) COMPREPLY=(); return ;;
  esac

  if [[ $current == -* ]]; then
    local options='--json --help'
    case $command in
      '') options+=' --version' ;;
      load) options+=' --name --mode --owner --group --node --page-size --evictable --priority --replace --sign --bytes --threads --no-index --quiet' ;;
      ls) options+=' --long' ;;
      run) options+=' --prompt --stdin --predict --temp --seed --top-k --top-p --min-p --repeat-penalty --frequency-penalty --presence-penalty --repeat-last-n --reverse-prompt --special --ignore-eos --threads --ctx-size --cache-type --device --device-layers --weights-in-place --device-share --no-cublas --raw' ;;
      tokenize) options+=' --ids --no-special --no-bos --parse-special' ;;
      device) options+=' --memory --slots' ;;
      policy) options+=' --closed' ;;
      audit) options+=' --hook --count' ;;
      top) options+=' --delay --once' ;;
      set) options+=' --evictable --no-evictable --priority' ;;
      revoke) options+=' --pid --uid --cgroup --keep-access' ;;
      allow) options+=' --pid --uid --cgroup' ;;
    esac
    COMPREPLY=($(compgen -W "$options" -- "$current"))
    return
  fi

  case $command in
    '') COMPREPLY=($(compgen -W "$commands" -- "$current")) ;;
    load) compopt -o default; COMPREPLY=() ;;
    run | tokenize | inspect)
      compopt -o default
      COMPREPLY=($(compgen -W "$(command ls "$models" 2>/dev/null)" -- "$current")) ;;
    rm | evict | prepare) COMPREPLY=($(compgen -W "$(command ls "$models" 2>/dev/null)" -- "$current")) ;;
    stat | set | grants | revoke | allow)
      ((COMP_CWORD > i + 1)) || COMPREPLY=($(compgen -W "$(command ls "$models" 2>/dev/null)" -- "$current")) ;;
    device)
      if ((COMP_CWORD == i + 1)); then
        COMPREPLY=($(compgen -W 'ls add set rm' -- "$current"))
      else
        COMPREPLY=($(compgen -W "$(command ls /sys/fs/llmos/devices 2>/dev/null)" -- "$current"))
      fi ;;
    lane)
      if ((COMP_CWORD == i + 1)); then
        COMPREPLY=($(compgen -W 'ls' -- "$current"))
      else
        COMPREPLY=($(compgen -W "$(command ls /sys/fs/llmos/devices 2>/dev/null)" -- "$current"))
      fi ;;
    policy)
      case $((COMP_CWORD - i)) in
        1) COMPREPLY=($(compgen -W 'ls attach detach open close' -- "$current")) ;;
        2)
          if [[ $previous == attach ]]; then
            compopt -o default
            COMPREPLY=($(compgen -W "$(cd /usr/lib/llmos/policies 2>/dev/null && echo *.bpf.o | sed 's/\.bpf\.o//g')" -- "$current"))
          else
            COMPREPLY=($(compgen -W "$(command ls /sys/fs/bpf/llmos 2>/dev/null | grep -v '_maps$')" -- "$current"))
          fi ;;
      esac ;;
    group)
      case $((COMP_CWORD - i)) in
        1) COMPREPLY=($(compgen -W 'show set' -- "$current")) ;;
        2) compopt -o nospace; COMPREPLY=($(cd /sys/fs/cgroup 2>/dev/null && compgen -S / -d -- "$current")) ;;
        3) COMPREPLY=($(compgen -W 'memory.max memory.low time.weight time.max' -- "$current")) ;;
        4) COMPREPLY=($(compgen -W "default $(command ls /sys/fs/llmos/devices 2>/dev/null)" -- "$current")) ;;
      esac ;;
    verify | exec)
      if ((COMP_CWORD > i + 1)); then
        compopt -o default
        COMPREPLY=()
        [[ $command == verify ]] || COMPREPLY=($(compgen -c -- "$current"))
      else
        COMPREPLY=($(compgen -W "$(command ls "$models" 2>/dev/null)" -- "$current"))
      fi ;;
  esac
}

complete -F _llmosctl llmosctl
