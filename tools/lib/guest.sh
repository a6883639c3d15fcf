# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154 # globals are the interface between these files
# Disks of the machines tools/vm starts.

# guest_disk: sets `guest` to the disk image of a small ordinary Debian with the modules of every kernel.
guest_disk() {
  artefact guest "$(key "${guest_packages[*]}" "$root" "$tools/lib/guest/customize" \
    "$(declare -f bootstrap make_guest_disk copy_modules partition)")" make_guest_disk
  guest=$made/disk
}

make_guest_disk() {
  mkdir "$1"
  bootstrap "${guest_packages[*]}" "$1/root"
  copy_modules "$1/root"
  in_root "$1/root" "$tools/lib/guest/customize" >&2
  release_root "$1/root"
  partition "$1/disk" "$1/root"
  rm -rf --one-file-system "$1/root"
}

# copy_modules ROOT: the kernels' own modules; links to headers would dangle there.
copy_modules() {
  mkdir -p "$1/usr/lib/modules"
  cp -a "$root"/usr/lib/modules/* "$1/usr/lib/modules/"
  rm -f "$1"/usr/lib/modules/*/{build,source,vmlinuz,System.map}
}

# partition DISK FOLDER: a disk whose one partition, found by the kernel as PARTUUID=6c6c6d6f-01, holds FOLDER as ext4.
partition() {
  local disk=$1 folder=$2 megabytes
  megabytes=$(($(du -sm --one-file-system "$folder" | cut -f1) + 2048))
  truncate -s "$((megabytes + 1))M" "$disk"
  in_root "$root" sfdisk --quiet "$disk" <<<$'label: dos\nlabel-id: 0x6c6c6d6f\nstart=2048'
  in_root "$root" mke2fs -q -t ext4 -L llmos-root -E offset=1048576 -d "$folder" "$disk" "${megabytes}M"
}

# build_root_disk: sets `disk` to the build root as a disk, for tests that compile in the machine.
build_root_disk() {
  artefact build-root-disk "$(key "$root" "$(declare -f make_build_root_disk)")" make_build_root_disk
  disk=$made
}

make_build_root_disk() {
  local megabytes
  megabytes=$(($(du -sm --one-file-system "$root" | cut -f1) + 2048))
  in_root "$root" mke2fs -q -t ext4 -L llmos-build -d "$root" "$1" "${megabytes}M"
}

# payload_disk FOLDER FILE: FOLDER as a disk with a gigabyte to spare.
payload_disk() {
  local megabytes
  megabytes=$(($(du -sm "$1" | cut -f1) * 11 / 10 + 1024))
  in_root "$root" mke2fs -q -t ext4 -O verity -E lazy_itable_init=0,lazy_journal_init=0 -L llmos-payload -d "$1" "$2" "${megabytes}M"
}

# scratch_disk FILE: an empty sparse filesystem that can hold fs-verity files.
scratch_disk() { in_root "$root" mke2fs -q -t ext4 -O verity -E lazy_itable_init=0,lazy_journal_init=0 -L llmos-scratch "$1" 8G; }
