# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154 # globals are the interface between these files
# The userspace build on this machine: the Debian packages it needs, and the build itself.

needed_packages=(
  cmake ninja-build g++ pkgconf python3 libnuma-dev libssl-dev libfmt-dev libcli11-dev nlohmann-json3-dev libbpf-dev
  libgtest-dev shellcheck mmdebstrap # tests, machines
)

# install_packages PACKAGE...: with apt, those that are missing. With none missing this needs no rights and no network.
install_packages() {
  local missing=() sudo=()
  command -v apt-get >/dev/null || die "this needs Debian 12 or 13; elsewhere install what gives you: $*"
  mapfile -t missing < <(comm -23 <(printf '%s\n' "$@" | sort) <(installed "$@" | sort))
  if ((!${#missing[@]})); then return; fi
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "these packages are missing, and installing them needs root or sudo: ${missing[*]}"
    sudo=(sudo)
  fi
  note "installing ${missing[*]}"
  "${sudo[@]}" apt-get -qq update
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install --yes --no-install-recommends \
    "${missing[@]}" >/dev/null
}

# installed PACKAGE...: those of them that are.
installed() {
  dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' "$@" 2>/dev/null | sed -n 's/^ii *//p' || true
}

# build PRESET: configure where that was not done, and bring the build up to date; the compiler is heard when it fails.
build() {
  local preset=$1 log=$checkout/build/$1.log lock
  build_dir=$checkout/build/$preset
  mkdir -p "$checkout/build"
  exec {lock}>"$build_dir.lock"
  flock "$lock"
  if ! (cd "$checkout" && cmake --preset "$preset" && cmake --build --preset "$preset" -j "$(nproc)" ${2:+--target "${@:2}"}) >"$log" 2>&1; then
    grep -vE '^\[[0-9]+/[0-9]+\]|^-- ' "$log" >&2 || true
    die "the $preset build failed; all it said is in $log"
  fi
  exec {lock}>&-
}
