// SPDX-License-Identifier: GPL-2.0-only
/*
 * priority: interactive lanes before batch lanes, first come first served within a
 * level, and shorter turns for batch work while somebody interactive may come. An
 * operator gives levels to cgroups; what has none goes by the lane's class, 0 being
 * the level of ordinary lanes, smaller numbers after larger ones.
 */
#include <llmos/policy.bpf.h>

LLMOS_GATE();

struct knobs {
	u32 class_max;		/* the highest level that a lane may claim for itself */
	u32 interactive;	/* from this level on, lanes are interactive */
	u64 batch_slice_ns;	/* of the others; 0: the default */
};
LLMOS_ONE(knobs, struct knobs);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);	/* id of a cgroup */
	__type(value, u32);
} group_level SEC(".maps");

/* More than the nanoseconds of a year apart. */
#define LEVEL		(1LL << 56)
#define LEVELS		15

static u32 level_of(struct llmos_lane_ctx *lane, const struct knobs *knob)
{
	u64 group = lane->group;
	u32 *given = bpf_map_lookup_elem(&group_level, &group);
	u32 level = lane->lane_class;

	if (given)
		level = *given;
	else if (level > knob->class_max)
		level = knob->class_max;
	return level > LEVELS ? LEVELS : level;
}

LLMOS_POLICY(lane_key, priority_key, struct llmos_lane_ctx *lane)
{
	struct knobs *knob = LLMOS_GET(knobs);

	if (!gate_open() || !knob)
		return 0;
	return (LEVELS - level_of(lane, knob)) * LEVEL + lane->now_ns;
}

LLMOS_POLICY(lane_slice, priority_slice, struct llmos_lane_ctx *lane)
{
	struct knobs *knob = LLMOS_GET(knobs);

	if (!gate_open() || !knob || level_of(lane, knob) >= knob->interactive)
		return 0;
	return knob->batch_slice_ns;
}
