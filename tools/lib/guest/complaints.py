# SPDX-License-Identifier: MIT
"""What the kernel says only when something is wrong."""
import re

# Of the message, without its time stamp. Fault injection's own reports ("FAULT_INJECTION: forcing a failure"), programs
# killed by signals and out-of-memory kills are what tests ask for: no complaints.
COMPLAINT = re.compile(
    r"WARNING: |BUG: |BUG |BUG_ON|Oops|kernel BUG at|Kernel panic|general protection fault|Internal error|double fault|"
    r"[Uu]nable to handle|INFO: (?:task .* blocked|possible|trying to register)|rcu: INFO: |"
    r"KASAN: |KFENCE: |UBSAN: |ODEBUG: |DMA-API: |refcount_t: |list_(?:add|del) corruption|slab .* corruption|"
    r"kmemleak: \d+ new suspected|VFS: Busy inodes|sysfs: cannot create|kobject_add_internal failed|"
    r"watchdog: BUG"
)
STAMP = re.compile(r"^\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ")


def complains(line: str) -> bool:
    """Is this line of the console's log a complaint?"""
    stamp = STAMP.match(line)
    return bool(stamp and COMPLAINT.match(line, stamp.end()))
