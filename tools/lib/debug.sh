# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154 # globals are the interface between these files
# The debug kernel, built once from Debian's source of the newest kernel.

# debug_kernel: sets `debug_image`, which boots, and `debug_tree`, against which modules are built. The image is a bzImage:
# under KASAN the PVH entry of an ELF image runs instrumented code before there is a shadow, and dies.
debug_kernel() {
  local name
  name=$(kernel_names | tail -n 1)
  artefact debug-kernel "$(key "$tools/lib/debug.config" "$tools/lib/build-debug-kernel" "$(kernel_release "$name")")" \
    make_debug_kernel "$name"
  debug_image=$made/bzImage debug_tree=$made/linux
}

make_debug_kernel() {
  note "building the debug kernel takes 10 to 30 minutes"
  mkdir "$2"
  if ! in_root "$root" nice "$tools/lib/build-debug-kernel" "$1" "$tools/lib/debug.config" "$2" >"$2.log" 2>&1; then
    tail -n 30 "$2.log" >&2
    die "the debug kernel did not build; all of it is in $2.log"
  fi
}
