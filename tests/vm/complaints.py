#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which lines of a kernel's log fail a machine, and which do not: all of them are real kernels' words."""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools/lib/guest"))
from complaints import complains  # noqa: E402

COMPLAINTS = """\
[    4.123456] WARNING: CPU: 1 PID: 345 at mm/page_alloc.c:4500 __alloc_pages_noprof+0x2f1/0x330
[    4.123456] WARNING: kernel/workqueue.c:2257 at __queue_work+0x3f/0x90, CPU#0: test/12
[    4.123456][  T345] WARNING: possible circular locking dependency detected
[   14.123456] WARNING: suspicious RCU usage
[   14.123456] WARNING: possible recursive locking detected
[   14.123456] WARNING: inconsistent lock state
[   14.123456] WARNING: bad unlock balance detected!
[   14.123456] INFO: possible recursive locking detected
[   14.123456] INFO: trying to register non-static key.
[  114.123456] INFO: task kworker/0:1:12 blocked for more than 120 seconds.
[  114.123456] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
[  114.123456] watchdog: BUG: soft lockup - CPU#0 stuck for 134s! [t:12]
[    5.000000] BUG: kernel NULL pointer dereference, address: 0000000000000008
[    5.000000] BUG: sleeping function called from invalid context at kernel/locking/mutex.c:585
[    5.000000] BUG: scheduling while atomic: bash/163/0x00000002
[    5.000000] BUG: Bad page state in process bash  pfn:12345
[    5.000000] BUG: KASAN: slab-use-after-free in model_put+0x31/0x90 [llmos]
[    5.000000] BUG kmalloc-64 (Tainted: G           OE     ): Poison overwritten
[    5.000000] kernel BUG at mm/filemap.c:254!
[    5.000000] Oops: general protection fault, probably for non-canonical address 0xdffffc0000000000: 0000 [#1] SMP
[    5.000000] general protection fault: 0000 [#1] SMP
[    5.000000] Kernel panic - not syncing: Fatal exception
[    5.000000] UBSAN: array-index-out-of-bounds in kmod/fill.c:12:3
[    5.000000] ODEBUG: free active (active state 0) object: 00000000f0a7b0d1 object type: timer_list
[    5.000000] refcount_t: underflow; use-after-free.
[    5.000000] list_del corruption. prev->next should be ffff888003c7f010, but was ffff888003c7f0d0
[   99.000000] kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)
[   99.000000] VFS: Busy inodes after unmount of none (llmos_models)
[   99.000000] sysfs: cannot create duplicate filename '/fs/llmos'
""".splitlines()

INNOCENT = """\
[    0.123456] Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on, data leaks possible!
[    6.768766] llmos: loading out-of-tree module taints kernel.
[    6.768991] llmos: module verification failed: signature and/or required key missing - tainting kernel
[   12.345678] FAULT_INJECTION: forcing a failure.
[   12.345678] name failslab, interval 10, probability 10, space 0, times 10
[   12.345678] Call Trace:
[   12.345678] Memory cgroup out of memory: Killed process 345 (hog) total-vm:123456kB
[   12.345678] Out of memory: Killed process 345 (hog) total-vm:123456kB
[   12.345678] hog invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP), order=0, oom_score_adj=0
[   12.345678] test[345]: segfault at 0 ip 000055d0 sp 00007ffe error 4 in test[1139,55d0+1000]
[    3.904000] EXT4-fs (nvme0n1p1): mounted filesystem 8cccbcd4 r/w with ordered data mode. Quota mode: none.
[    3.904000] Lock dependency validator: Copyright (c) 2006 Red Hat, Inc., Ingo Molnar
[    3.904000] debug: BUG in name only
WARNING: a program's own words, without a stamp
""".splitlines()


class Complaints(unittest.TestCase):
    def test_complaints_are_found(self):
        for line in COMPLAINTS:
            with self.subTest(line):
                self.assertTrue(complains(line))

    def test_innocent_lines_are_not(self):
        for line in INNOCENT:
            with self.subTest(line):
                self.assertFalse(complains(line))


unittest.main()
