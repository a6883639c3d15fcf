// SPDX-License-Identifier: GPL-2.0-only
/*
 * shortest: the turn that is said to cost least comes first, and waiting makes up
 * for cost: each nanosecond waited is worth `ageing` thousandths of one of cost.
 * Since all who wait age alike, the moment of asking is all that matters, and keys
 * stand still. With ageing 0, long turns wait until the module's bound.
 */
#include <llmos/policy.bpf.h>

LLMOS_GATE();

struct knobs {
	u64 ageing;		/* thousandths */
	u64 unknown_ns;		/* cost of a turn that nobody gave a hint for */
};
LLMOS_ONE(knobs, struct knobs);

/* Keys are small numbers above that of this moment. */
u64 begin_ns = 0;

LLMOS_POLICY(lane_key, shortest_key, struct llmos_lane_ctx *lane)
{
	struct knobs *knob = LLMOS_GET(knobs);
	u64 cost = lane->cost_ns;

	if (!gate_open() || !knob)
		return 0;
	if (!begin_ns)
		begin_ns = lane->now_ns;
	if (!cost && lane->turns)
		cost = lane->used_ns / lane->turns;
	if (!cost)
		cost = knob->unknown_ns;
	if (cost > 1ULL << 42)	/* an hour, and no overflow below */
		cost = 1ULL << 42;
	return 1 + cost + (lane->now_ns - begin_ns) / 1000 * knob->ageing;
}
