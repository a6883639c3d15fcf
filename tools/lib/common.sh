# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034 # globals are the interface between these files
# What every script here needs: messages, the cache, private mounts. Sourced, never run.
set -Eeuo pipefail
shopt -s inherit_errexit
trap 'echo "${BASH_SOURCE[0]##*/}:$LINENO: \"$BASH_COMMAND\" failed with status $?" >&2' ERR

tools=$(cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
checkout=$(dirname -- "$tools")
cache=${LLMOS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/llmos}
export LLMOS_CACHE=$cache # the same place after sudo, whose HOME differs

note() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() {
  note "$@"
  exit 125
}

# usage: prints the comment block at the top of the running script.
usage() { sed -n '/^#!/d; /^# SPDX/d; /^#/!q; s/^# \{0,1\}//p' "$0"; }

# kernel_names: the names in tools/kernels, oldest first.
kernel_names() { awk '!/^#/ && NF { print $1 }' "$tools/kernels"; }

# kernel_suite NAME: the Debian suite it comes from.
kernel_suite() { awk -v name="$1" '!/^#/ && $1 == name { print $2 }' "$tools/kernels"; }

# kernel_name NAME: the same name, checked; `newest` becomes the last of the list.
kernel_name() {
  if [[ $1 == newest ]]; then kernel_names | tail -n 1; return; fi
  [[ $(kernel_suite "$1") ]] || die "unknown kernel '$1'; tools/kernels lists: $(kernel_names | xargs), newest"
  echo "$1"
}

# become_root ARGUMENTS...: start the running script again with them, as root and in a mount namespace of its own,
# so that every mount below vanishes with it. Returns at once in the second life.
become_root() {
  if [[ ${LLMOS_PRIVATE:-} == "$$" ]]; then return; fi
  local sudo=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "mounting and chroot need root: run as root, or install sudo"
    sudo=(sudo "--preserve-env=http_proxy,https_proxy,no_proxy,TERM")
  fi
  mkdir -p "$cache"
  # shellcheck disable=SC2016 # $$ is that of the shell that becomes us
  exec "${sudo[@]}" env "LLMOS_CACHE=$cache" "LLMOS_OWNER=$(id -u):$(id -g)" \
    unshare --mount --propagation private bash -c 'LLMOS_PRIVATE=$$ exec "$0" "$@"' "$0" "$@"
}

# in_root ROOT COMMAND...: run COMMAND in ROOT, which sees this checkout and the cache at their own paths.
in_root() {
  local root=$1
  shift
  if ! mountpoint -q "$root/proc"; then mount_root "$root"; fi
  LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$root" "$@"
}

mount_root() {
  local root=$1 path
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount -t tmpfs tmpfs "$root/tmp"
  if [[ -e $root/etc/resolv.conf ]]; then mount --bind /etc/resolv.conf "$root/etc/resolv.conf"; fi
  for path in "$checkout" "$cache"; do
    mkdir -p "$root$path"
    mount --bind "$path" "$root$path"
  done
}

# key FILE-OR-TEXT...: a short hash of files' contents and of plain texts.
key() {
  local part
  for part in "$@"; do
    if [[ -f $part ]]; then sha256sum <"$part"; else echo "$part"; fi
  done | sha256sum | cut -c1-16
}

# artefact KIND KEY MAKER ARGUMENTS...: sets `made` to the path of the thing of that kind made from KEY. Where it is not
# there yet, `MAKER ARGUMENTS... PATH` makes it under a temporary name first, so half a thing is never used.
# One process makes, others wait; the shared lock taken here keeps it from being pruned while we run.
artefact() {
  local kind=$1 path=$cache/$1.$2 lock
  shift 2
  exec {lock}>>"$cache/$kind.lock"
  flock --shared "$lock"
  if [[ ! -e $path ]]; then
    flock --unlock "$lock"
    note "making $kind (once; it is kept in $cache)"
    make_artefact "$kind" "$path" "$@"
    flock --shared "$lock"
  fi
  touch -c "$path"
  made=$path
}

make_artefact() {
  local kind=$1 path=$2 maker=$3 lock
  exec {lock}>>"$cache/$kind.making"
  flock "$lock"
  if [[ ! -e $path ]]; then
    rm -rf --one-file-system "$path.tmp"
    "$maker" "${@:4}" "$path.tmp"
    mv -T "$path.tmp" "$path"
  fi
  prune "$kind" "$path"
  exec {lock}>&-
}

# prune KIND KEEP: remove other things of that kind, unless somebody uses one of them or did in the last three days.
prune() {
  local kind=$1 keep=$2 lock
  exec {lock}>>"$cache/$kind.lock"
  if flock --exclusive --nonblock "$lock"; then
    find "$cache" -mindepth 1 -maxdepth 1 -name "$kind.*" ! -name "$kind.lock" ! -name "$kind.making" ! -path "$keep" \
      -mtime +2 -exec rm -rf --one-file-system {} +
  fi
  exec {lock}>&-
}

# give_to_owner PATH: what root made in the checkout belongs to whoever called us through sudo.
give_to_owner() {
  if [[ ${LLMOS_OWNER:-0:0} != 0:0 ]]; then chown -R "$LLMOS_OWNER" "$1"; fi
}

# release_root ROOT: undo mount_root, so that ROOT can be copied or removed.
release_root() {
  umount --recursive --lazy "$1/dev"
  umount "$1$cache" "$1$checkout" "$1/tmp" "$1/proc" # either may lie below /tmp
  if mountpoint -q "$1/etc/resolv.conf"; then umount "$1/etc/resolv.conf"; fi
}
