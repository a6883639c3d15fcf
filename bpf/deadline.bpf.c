// SPDX-License-Identifier: GPL-2.0-only
/*
 * deadline: earliest deadline first. A lane's deadline is its own, or that of its
 * class: the service level that an operator promises it. Lanes with neither are
 * left to the fair order, behind all others.
 */
#include <llmos/policy.bpf.h>

LLMOS_GATE();

/* A lane that over-ran its turns so often is believed no longer; 0: always. */
struct knobs {
	u32 overruns_max;
};
LLMOS_ONE(knobs, struct knobs);

/* By the lane's class: nanoseconds within which its turns are to begin; 0: none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, u64);
} class_ns SEC(".maps");

LLMOS_POLICY(lane_key, deadline_key, struct llmos_lane_ctx *lane)
{
	struct knobs *knob = LLMOS_GET(knobs);
	u32 class = lane->lane_class;
	u64 *within;

	if (!gate_open() || !knob)
		return 0;
	if (knob->overruns_max && lane->overruns > knob->overruns_max)
		return 0;
	if (lane->deadline_ns)
		return lane->deadline_ns;
	within = bpf_map_lookup_elem(&class_ns, &class);
	return within && *within ? lane->now_ns + *within : 0;
}
