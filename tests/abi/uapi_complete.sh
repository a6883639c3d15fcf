#!/bin/sh
# SPDX-License-Identifier: MIT
# Every struct, field, number and command of the kernel's header is asserted in uapi_layout.c.
# usage: uapi_complete.sh HEADER LAYOUT
set -eu
list=$(mktemp)
trap 'rm "$list"' EXIT
{
  awk '/^struct llmos_[a-z_]* \{/ {s = $2; print "SIZE(" s ","; inside = 1; next}
       /^}/ {inside = 0}
       inside && /;/ {f = $2; sub(/[[;].*/, "", f); print "FIELD(" s ", " f ","}' "$1"
  sed -n 's/^#define \(LLMOS_[A-Z_0-9]*\)[[:space:]]\{1,\}\([(0-9_]\).*/VALUE(\1,/p' "$1"
} >"$list"
[ "$(wc -l <"$list")" -gt 100 ] || { echo "the header was not understood"; exit 1; }
missing=0
while read -r assertion; do
  grep -qF "$assertion" "$2" || { echo "not asserted: $assertion ...)"; missing=1; }
done <"$list"
exit $missing
