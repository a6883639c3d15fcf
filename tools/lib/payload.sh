# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034,SC2154 # globals are the interface between these files
# What one machine gets: its run folder and the payload disk, seen at /mnt in the machine.

# make_run: sets `run` to a folder for this machine alone, gone when it ends. The lock on descriptor 8 lives as long as
# this process (and what it execs); folders whose process died are swept here.
make_run() {
  local old
  for old in "$cache"/run/*/; do
    if [[ -e $old/lock ]] && flock --nonblock "$old/lock" true; then rm -rf --one-file-system "$old"; fi
  done
  run=$cache/run/$$
  mkdir -p "$run/payload"
  exec 8>"$run/lock"
  flock 8
}

# make_payload: the payload disk out of our own files and the --with PATHs, which are bound, not copied, into place.
make_payload() {
  local own=$run/payload/.llmos path name
  mkdir "$own"
  cp "$tools"/lib/guest/{init,finish,agent.py,frames.py,complaints.py} "$own/"
  in_root "$root" true # mounts the cache there; what is mounted from here on goes over it
  if [[ ! $no_module ]]; then
    install_module "$own/root/usr"
    exec {module_lock}>&-
  fi
  if [[ $build_dir ]]; then install_tools "$own/root"; fi
  for path in "${paths[@]}"; do
    path=$(realpath -- "$path") name=$(basename -- "$path")
    [[ ! -e $root$run/payload/$name ]] || die "--with: two things named $name"
    if [[ -d $path ]]; then mkdir "$run/payload/$name"; else touch "$run/payload/$name"; fi
    mount --bind -o ro "$path" "$root$run/payload/$name"
  done
  payload_disk "$run/payload" "$run/payload.img"
  for path in "${paths[@]}"; do umount "$root$run/payload/$(basename -- "$(realpath -- "$path")")"; done
  rm -rf --one-file-system "$run/payload"
}

# install_module USR: the module where dkms would put it, and those of --module, with modprobe's tables made here: depmod is slow when emulated.
install_module() {
  local usr=$1 release=$module_release updates
  updates=$usr/lib/modules/$release/updates
  mkdir -p "$updates"
  cp "$module" "${extra_built[@]}" "$updates/"
  if [[ $debug ]]; then
    cp "$debug_tree"/modules.{builtin,builtin.modinfo,order} "${updates%/*}/"
    in_root "$root" depmod --basedir "$usr" "$release"
  else
    mkdir -p "$root/usr/lib/modules/$release/updates"
    mount --bind "$updates" "$root/usr/lib/modules/$release/updates"
    in_root "$root" depmod --outdir "$usr" "$release"
    umount "$root/usr/lib/modules/$release/updates"
  fi
}

install_tools() {
  if ! DESTDIR=$1 cmake --install "$build_dir" --prefix /usr --strip >"$run/install.log" 2>&1; then
    cat "$run/install.log" >&2
    die "installing from $build_dir failed"
  fi
}

# run_machine: become the process that runs QEMU and judges it.
run_machine() {
  local options=(--run "$run" --timeout "${timeout:-3600}") pair
  for pair in "${environment[@]}"; do options+=(--env "$pair"); done
  if [[ $tty ]]; then options+=(--tty); fi
  if [[ $verbose ]]; then options+=(--verbose); fi
  if [[ $log ]]; then
    exec 9>"$log"
    options+=(--log-fd 9)
  fi
  exec env -i PYTHONDONTWRITEBYTECODE=1 "TERM=${TERM:-dumb}" PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 chroot "$root" \
    "$tools/lib/machine.py" "${options[@]}" --qemu "${qemu[@]}" --command "${command[@]}"
}
