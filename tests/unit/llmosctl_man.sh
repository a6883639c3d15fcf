#!/bin/bash
# SPDX-License-Identifier: MIT
# The manual pages render without a warning, and quote one word at a time.
# usage: llmosctl_man.sh LLMOSCTL TOOLS
set -u
command -v man >/dev/null && command -v groff >/dev/null || { echo "skipped: man or groff is not installed"; exit 77; }
failed=0
for page in "$2"/man/*.[1-8]; do
  warnings=$(LC_ALL=C.UTF-8 MANWIDTH=80 man --warnings -E UTF-8 -l -Tutf8 -Z "$page" 2>&1 >/dev/null)
  [[ -z $warnings ]] || { echo "${page##*/}: $warnings"; failed=1; }
  # A quotation that was opened word by word is closed at the end of the line.
  quotes=$(LC_ALL=C.UTF-8 MANWIDTH=80 man -E UTF-8 -l -Tutf8 "$page" 2>/dev/null | grep -n '[[:alnum:]]""')
  [[ -z $quotes ]] || { echo "${page##*/}: quotes in quotes: $quotes"; failed=1; }
done
exit $failed
