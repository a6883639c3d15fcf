# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154 # globals are the interface between these files
# The two Debian roots, each made once: the build root (compilers, kernels, headers, QEMU) and the guest's.

build_packages=(
  bash ca-certificates kmod make gcc libc6-dev libelf-dev libssl-dev libdw-dev bc bison flex perl python3 rsync cpio
  xz-utils zstd lz4 pahole bpftool clang llvm lld libbpf-dev sparse dkms openssl e2fsprogs fdisk qemu-system-x86 seabios
)
guest_packages=(
  bash python3 attr fsverity procps strace bpftool kmod util-linux mount iproute2 keyutils openssl libnuma1 libbpf1 numactl
  libstdc++6 libgomp1 auditd libcap2-bin e2fsprogs udev acl file psmisc less vim-tiny
)

# mirror LABEL: the address of the archive with that label (Debian, Debian-Security) in this machine's apt sources.
# Cloud images write mirror+file:PATH; the first line of PATH is then the address.
mirror() {
  local uri
  # shellcheck disable=SC2016 # apt's own variables
  uri=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
    awk -v label="$1" '$1 == label && !uri { uri = $2 } END { print uri }')
  if [[ $uri == mirror+file:* ]]; then
    uri=$(awk '!/^#/ && NF && !uri { uri = $1 } END { print uri }' "/${uri#*:/}")
  fi
  echo "${uri%/}"
}

# sources: the lines of sources.list for trixie, its updates and backports, from this machine's mirrors.
sources() {
  local main security suite
  main=$(mirror Debian) security=$(mirror Debian-Security)
  [[ $main ]] || die "apt knows no Debian mirror here; run 'apt-get update', or write one into /etc/apt/sources.list"
  for suite in trixie trixie-updates trixie-backports; do echo "deb $main $suite main"; done
  if [[ $security ]]; then echo "deb $security trixie-security main"; fi
}

# apt_settings: this machine's own ways of reaching its mirrors (proxies, certificates), for the new root's apt.
apt_settings() { apt-config dump | grep -E '^Acquire::(https?|Check|Retries)[^ ]* "[^"]+"' || true; }

# bootstrap PACKAGES ROOT: a minimal trixie with those packages.
bootstrap() {
  local packages=$1 root=$2
  command -v mmdebstrap >/dev/null || die "mmdebstrap is missing: apt-get install mmdebstrap"
  sources | mmdebstrap --quiet --mode=root --variant=minbase --skip=check/empty --include="${packages// /,}" \
    --aptopt=<(apt_settings) trixie "$root" - >&2
}

build_root() {
  artefact build-root "$(key "${build_packages[*]}" "$tools/kernels" "$tools/lib/install-kernels" \
    "$(declare -f bootstrap make_build_root)")" make_build_root
  root=$made
}

make_build_root() {
  bootstrap "${build_packages[*]}" "$1"
  in_root "$1" "$tools/lib/install-kernels" "$tools/kernels" >&2
  release_root "$1"
}

# kernel_release NAME: the release (uname -r) of that kernel in the build root.
kernel_release() { cat "$root/kernels/$1/release"; }
