# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154 # globals are the interface between these files
# Building the module inside the build root.

# build_module NAME: sets `module` to the llmos.ko built for that kernel and `module_release` to what uname -r says there.
# Options are the globals debug, clean, check. The lock `module_lock` keeps others from building it anew: close it after use.
build_module() {
  local folder=$checkout/build/kmod/$1${debug:+-debug} tree make
  if [[ $debug ]]; then
    debug_kernel
    module_release=$(<"$debug_tree/include/config/kernel.release") tree=$debug_tree
  else
    module_release=$(kernel_release "$1") tree=/usr/lib/modules/$module_release/build
  fi
  mkdir -p "$folder"
  exec {module_lock}>"$folder/lock"
  flock "$module_lock"
  sync_sources "$folder"
  make=(make --no-print-directory -j"$(nproc)" -C "$tree" "M=$folder" W=1 KCFLAGS=-Werror)
  if [[ $clean ]]; then in_root "$root" "${make[@]}" clean >&2; fi
  in_root "$root" "${make[@]}" ${check:+C=1 CF=-Wsparse-error} modules >&2
  module=$folder/kmod/llmos.ko
  give_to_owner "$checkout/build"
}

# sync_sources FOLDER: bring what dkms would ship there, keeping objects and the times of files that did not change.
sync_sources() {
  local folder=$1 file
  while IFS= read -r -d '' file; do
    if ! cmp -s "$checkout/$file" "$folder/$file"; then install -D -m 0644 "$checkout/$file" "$folder/$file"; fi
  done < <(cd "$checkout" && find Kbuild dkms.conf include/uapi kmod -type f \( -name '*.[ch]' -o -name Kbuild -o -name dkms.conf \) -print0)
  while IFS= read -r -d '' file; do
    if [[ ! -e $checkout/$file ]]; then rm -- "$folder/$file"; fi
  done < <(cd "$folder" && find include kmod -name '*.[ch]' ! -name '*.mod.c' -print0)
}
