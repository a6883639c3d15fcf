/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What scx_llmos, the scheduler of CPUs, is told, counts, and leaves behind: maps of
 * one entry, key 0, called llmos_scx_knobs, llmos_scx_stats (one of each CPU) and
 * llmos_scx_end in /sys/fs/bpf. They outlive it. New fields come at the end.
 */
#ifndef LLMOS_SCHEDULER_H
#define LLMOS_SCHEDULER_H

#include <linux/types.h>

struct llmos_scx_knobs {	/* 0: the default */
	__u64 lanes_slice_ns;	/* of a lane's thread, where others of them wait */
	__u64 others_slice_ns;
	__u64 lanes_max_ns;	/* for which lanes' threads may keep a CPU that others want */
	__u64 prepare_ns;	/* for which a thread whose turn is over is taken to prepare the next */
};

struct llmos_scx_stats {
	__u64 lanes_ns;		/* run by lanes' threads */
	__u64 others_ns;
	__u64 preempted;	/* times that a lane's thread took the CPU from one of the others */
	__u64 promoted;		/* threads that came to have a turn while they waited for a CPU */
	__u64 dues;		/* times that the others had it by right */
};

struct llmos_scx_end {
	__u64 kind;		/* enum scx_exit_kind: 0 none yet; 64 detached; 1024 and more: an error */
	__s64 code;
	char reason[64];
	char message[256];
};

#endif
