#!/bin/sh
# SPDX-License-Identifier: MIT
# What the shared library exports is what the map lists and what the header declares, and everything has a version.
# usage: symbols.sh LIBRARY MAP HEADER...
set -eu
library=$1 map=$2
shift 2
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

nm -D --defined-only --with-symbol-versions "$library" | awk '$2 != "A" {print $3}' >"$work/versioned"
grep -v '@@LLMOS_' "$work/versioned" >"$work/leaks" || true
sed 's/@.*//' "$work/versioned" | sort >"$work/exported"
grep -o 'llmos_[a-z0-9_]*;' "$map" | tr -d ';' | sort >"$work/listed"
cat "$@" | tr '\n' ' ' | grep -o 'LLMOS_API [^;(]*(' | grep -o 'llmos_[a-z0-9_]*($' | tr -d '(' | sort >"$work/declared"

[ -s "$work/exported" ] || { echo "the library exports nothing"; exit 1; }
if [ -s "$work/leaks" ]; then
  echo "symbols without a version:"
  cat "$work/leaks"
  exit 1
fi
diff -u --label "in the map" --label "exported" "$work/listed" "$work/exported"
diff -u --label "declared in the header" --label "exported" "$work/declared" "$work/exported"

soname=$(readelf -d "$library" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
[ "$soname" = libllmos.so.0 ] || { echo "the soname is $soname"; exit 1; }
