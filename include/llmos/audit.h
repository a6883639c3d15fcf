/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * What the policy `audit` writes into its ring buffer, and counts: for the policy
 * and for whoever reads it, such as llmosctl audit. New fields come at the end.
 */
#ifndef LLMOS_AUDIT_H
#define LLMOS_AUDIT_H

#include <linux/types.h>

/* Bits of the knob, and what a record tells of. */
enum llmos_audit_decision {
	LLMOS_AUDIT_LANE_KEY = 1,
	LLMOS_AUDIT_LANE_SLICE,
	LLMOS_AUDIT_EVICT_SCORE,
	LLMOS_AUDIT_ADMIT,
};

struct llmos_audit_record {
	__u64 time_ns;		/* of CLOCK_MONOTONIC */
	__u64 object;		/* id of the lane, or of the model; 0 for admissions */
	__u64 group;		/* id of the cgroup; 0 for evictions */
	__u64 bytes;		/* of the model, or asked for; 0 for lanes */
	__s64 answer;		/* as the policy gave it; 0: none, the default held */
	__u32 decision;		/* enum llmos_audit_decision */
	__u32 pid;		/* process that asked */
	char device[32];	/* empty where none is concerned */
	char name[128];		/* of the lane or the model; empty for charges */
};

/* The one entry of the map `counts`. */
struct llmos_audit_counts {
	__u64 recorded;
	__u64 lost;		/* decisions for which the buffer had no room */
};

#endif
