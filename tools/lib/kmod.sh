# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154 # globals are the interface between these files
# Building modules inside the build root: ours, and those of tests.

# build_module NAME: sets `module` to the llmos.ko built for that kernel and `module_release` to what uname -r says there.
# Options are the globals debug, clean, check, and `extra_modules`: folders of modules to build too, of which `extra_built`
# then tells the files. The lock `module_lock` keeps others from building it anew: close it after use.
build_module() {
  local folder tree make_modules path
  folder=$checkout/build/kmod/$1${debug:+-debug}
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
  make_modules=(make --no-print-directory -j"$(nproc)" -C "$tree" W=1)
  make_in "$folder" -Werror
  module=$folder/kmod/llmos.ko
  for path in "${extra_modules[@]}"; do build_extra_module "$path"; done
  give_to_owner "$checkout/build"
}

# make_in FOLDER CFLAGS: make the modules of FOLDER with those flags beside the kernel's own.
make_in() {
  local make=("${make_modules[@]}" "M=$1" "KCFLAGS=$2")
  if [[ $clean ]]; then in_root "$root" "${make[@]}" clean >&2; fi
  in_root "$root" "${make[@]}" ${check:+C=1 CF=-Wsparse-error} modules >&2
}

# build_extra_module PATH: like ours, with what compat/ knows of kernel versions.
build_extra_module() {
  local target=$folder/extra/${1##*/} file
  mkdir -p "$target"
  for file in "$1"/*; do
    if ! cmp -s "$file" "$target/${file##*/}"; then install -m 0644 "$file" "$target/"; fi
  done
  make_in "$target" "-Werror -include $folder/kmod/compat/compat.h"
  extra_built+=("$target"/*.ko)
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
