// SPDX-License-Identifier: GPL-2.0-only
/*
 * fair: device time in proportion to weights that operators give to names of lanes
 * and to cgroups, over the whole device. A flow is a pair of both; its weight is
 * the product of theirs, 100 being the ordinary one.
 *
 * Start-time fair queueing: a lane's key is its flow's virtual time, which grows by
 * what its lanes used, and never lies behind the time of the flows that are served.
 */
#include <llmos/policy.bpf.h>

LLMOS_GATE();

/* Device time that a flow which slept may catch up. */
struct knobs {
	u64 credit_ns;
};
LLMOS_ONE(knobs, struct knobs);

struct name {
	char name[LLMOS_LANE_NAME_SIZE];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct name);
	__type(value, u32);
} name_weight SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);	/* id of a cgroup */
	__type(value, u32);
} group_weight SEC(".maps");

struct flow_key {
	u64 group;
	struct name name;
};

struct flow {
	u64 time;		/* used, divided by the weight */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

/* What a lane was told when it asked last, and what it had used by then. */
struct asked {
	u64 key;
	u64 expected_ns;
	u64 used_ns;
	u64 turns;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, u64);
	__type(value, struct asked);
} lanes SEC(".maps");

u64 virtual_time = 1;	/* the key of a turn that was given lately */

static u64 weight_of(void *map, const void *key)
{
	u32 *weight = bpf_map_lookup_elem(map, key);

	return weight && *weight ? *weight : 100;
}

static struct flow *flow_of(const struct flow_key *key)
{
	struct flow *flow = bpf_map_lookup_elem(&flows, key);
	struct flow fresh = { .time = virtual_time };

	if (flow)
		return flow;
	bpf_map_update_elem(&flows, key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&flows, key);
}

/* What the flow was billed in advance becomes what its lane really used: ns to add. */
static s64 correction(const struct asked *asked, u64 used_ns, u64 turns)
{
	if (turns > asked->turns && asked->key > virtual_time)
		virtual_time = asked->key;
	return (s64)(used_ns - asked->used_ns) - (s64)asked->expected_ns;
}

/* The machine divides no negative numbers. */
static s64 scaled(s64 ns, u64 weight)
{
	u64 magnitude = (u64)(ns < 0 ? -ns : ns) * 10000 / weight;

	return ns < 0 ? -(s64)magnitude : (s64)magnitude;
}

LLMOS_POLICY(lane_key, fair_key, struct llmos_lane_ctx *lane)
{
	struct knobs *knob = LLMOS_GET(knobs);
	struct flow_key key = { .group = lane->group };
	u64 id = lane->lane, weight, least;
	struct asked *before, now = {
		.expected_ns = lane->cost_ns ? lane->cost_ns : lane->slice_ns,
		.used_ns = lane->used_ns,
		.turns = lane->turns,
	};
	struct flow *flow;

	if (!gate_open() || !knob)
		return 0;
	bpf_probe_read_kernel_str(key.name.name, sizeof(key.name.name), lane->name);
	weight = weight_of(&name_weight, &key.name) * weight_of(&group_weight, &key.group);
	flow = flow_of(&key);
	if (!flow)
		return 0;
	now.key = flow->time;
	before = bpf_map_lookup_elem(&lanes, &id);
	if (before)
		now.key += scaled(correction(before, now.used_ns, now.turns), weight);
	least = virtual_time > knob->credit_ns ? virtual_time - knob->credit_ns : 1;
	if ((s64)(now.key - least) < 0)
		now.key = least;
	flow->time = now.key + scaled(now.expected_ns, weight);
	bpf_map_update_elem(&lanes, &id, &now, BPF_ANY);
	return now.key;
}
