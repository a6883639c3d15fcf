// SPDX-License-Identifier: GPL-2.0-only
/*
 * cache: which idle model goes when memory is short. Worth keeping is what was used
 * lately, what is small, since its bytes serve more often, and what has priority:
 * score = (priority + 1) / (idle time x size), each with an exponent of 0 or 1 that
 * an operator chooses. Names can be kept for ever by giving them a bonus.
 *
 * The division of GreedyDual-Size (P. Cao, S. Irani, USITS 1997) with recency in
 * place of its inflation value: models are few, and their idle times are known.
 */
#include <llmos/policy.bpf.h>

LLMOS_GATE();

struct knobs {
	u32 by_size;
	u32 by_recency;
	u32 by_priority;
	u32 reserved;
};
LLMOS_ONE(knobs, struct knobs);

struct name {
	char name[LLMOS_NAME_SIZE];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct name);
	__type(value, u64);	/* added to the score */
} bonus SEC(".maps");

#define SCORE_MAX	(1ULL << 60)

LLMOS_POLICY(evict_score, cache_score, struct llmos_model_ctx *model)
{
	struct knobs *knob = LLMOS_GET(knobs);
	struct name name = {};
	u64 score = 1ULL << 50, *more;
	s64 priority = model->priority;

	if (!gate_open() || !knob)
		return 0;
	if (knob->by_size)
		score /= (model->bytes >> 20) + 1;
	if (knob->by_recency)
		score /= model->idle_ns / 1000000000 + 1;
	if (knob->by_priority && priority > 0)
		score *= priority < 1000 ? priority + 1 : 1000;
	bpf_probe_read_kernel_str(name.name, sizeof(name.name), model->name);
	more = bpf_map_lookup_elem(&bonus, &name);
	if (more)
		score += *more < SCORE_MAX ? *more : SCORE_MAX;
	return score + 1;
}
