// SPDX-License-Identifier: GPL-2.0-only
/*
 * audit: every decision into a ring buffer, for whoever keeps records. It has no
 * opinions: fexit programs see what was asked and what was answered, by whichever
 * policy, or 0 where the default holds. Full buffer: counted in `lost`.
 */
#include <llmos/policy.bpf.h>

char LICENSE[] SEC("license") = "GPL";

enum decision { LANE_KEY = 1, LANE_SLICE, EVICT_SCORE, ADMIT };

struct record {
	u64 time_ns;
	u64 object;		/* lane, or model */
	u64 group;		/* id of the cgroup; 0 for evictions */
	u64 bytes;
	s64 answer;
	u32 decision;
	u32 pid;
	char name[LLMOS_LANE_NAME_SIZE];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} records SEC(".maps");

/* Bits of decisions to record, 1 << decision. */
struct knobs {
	u32 decisions;
};
LLMOS_ONE(knobs, struct knobs);

u64 recorded = 0;
u64 lost = 0;

static __always_inline struct record *record_begin(enum decision decision, s64 answer)
{
	struct knobs *knob = LLMOS_GET(knobs);
	struct record *record;

	if (!knob || !(knob->decisions & 1U << decision))
		return NULL;
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		__sync_fetch_and_add(&lost, 1);
		return NULL;
	}
	__builtin_memset(record, 0, sizeof(*record));
	record->time_ns = bpf_ktime_get_ns();
	record->answer = answer;
	record->decision = decision;
	record->pid = bpf_get_current_pid_tgid() >> 32;
	__sync_fetch_and_add(&recorded, 1);
	return record;
}

static __always_inline int record_lane(struct llmos_lane_ctx *lane, enum decision decision,
				       s64 answer)
{
	struct record *record = record_begin(decision, answer);

	if (!record)
		return 0;
	record->object = lane->lane;
	record->group = lane->group;
	bpf_probe_read_kernel_str(record->name, sizeof(record->name), lane->name);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("fexit/llmos_hook_lane_key")
int BPF_PROG(audit_key, struct llmos_lane_ctx *lane, s64 answer)
{
	return record_lane(lane, LANE_KEY, answer);
}

SEC("fexit/llmos_hook_lane_slice")
int BPF_PROG(audit_slice, struct llmos_lane_ctx *lane, s64 answer)
{
	return record_lane(lane, LANE_SLICE, answer);
}

SEC("fexit/llmos_hook_evict_score")
int BPF_PROG(audit_evict, struct llmos_model_ctx *model, s64 answer)
{
	struct record *record = record_begin(EVICT_SCORE, answer);

	if (!record)
		return 0;
	record->object = model->model;
	record->bytes = model->bytes;
	bpf_probe_read_kernel_str(record->name, sizeof(record->name), model->name);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("fexit/llmos_hook_admit")
int BPF_PROG(audit_admit, struct llmos_admit_ctx *request, s64 answer)
{
	struct record *record = record_begin(ADMIT, answer);

	if (!record)
		return 0;
	record->group = request->group;
	record->bytes = request->bytes;
	bpf_probe_read_kernel_str(record->name, sizeof(record->name), request->name);
	bpf_ringbuf_submit(record, 0);
	return 0;
}
