// SPDX-License-Identifier: GPL-2.0-only
/*
 * audit: every decision into a ring buffer, for whoever keeps records. It has no
 * opinions: fexit programs see what was asked and what was answered, by whichever
 * policy, or 0 where the default holds. What it writes is in <llmos/audit.h>.
 */
#include <llmos/policy.bpf.h>
#include <llmos/audit.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} records SEC(".maps");

/* Bits of decisions to record, 1 << decision. */
struct knobs {
	u32 decisions;
};
LLMOS_ONE(knobs, struct knobs);
LLMOS_ONE(counts, struct llmos_audit_counts);

static __always_inline struct llmos_audit_record *
record_begin(enum llmos_audit_decision decision, s64 answer)
{
	struct llmos_audit_counts *count = LLMOS_GET(counts);
	struct knobs *knob = LLMOS_GET(knobs);
	struct llmos_audit_record *record;

	if (!count || !knob || !(knob->decisions & 1U << decision))
		return NULL;
	record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	__sync_fetch_and_add(record ? &count->recorded : &count->lost, 1);
	if (!record)
		return NULL;
	__builtin_memset(record, 0, sizeof(*record));
	record->time_ns = bpf_ktime_get_ns();
	record->answer = answer;
	record->decision = decision;
	record->pid = bpf_get_current_pid_tgid() >> 32;
	return record;
}

static __always_inline int record_lane(struct llmos_lane_ctx *lane,
				       enum llmos_audit_decision decision, s64 answer)
{
	struct llmos_audit_record *record = record_begin(decision, answer);

	if (!record)
		return 0;
	record->object = lane->lane;
	record->group = lane->group;
	bpf_probe_read_kernel_str(record->device, sizeof(record->device), lane->device);
	bpf_probe_read_kernel_str(record->name, LLMOS_LANE_NAME_SIZE, lane->name);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("fexit/llmos_hook_lane_key")
int BPF_PROG(audit_key, struct llmos_lane_ctx *lane, s64 answer)
{
	return record_lane(lane, LLMOS_AUDIT_LANE_KEY, answer);
}

SEC("fexit/llmos_hook_lane_slice")
int BPF_PROG(audit_slice, struct llmos_lane_ctx *lane, s64 answer)
{
	return record_lane(lane, LLMOS_AUDIT_LANE_SLICE, answer);
}

SEC("fexit/llmos_hook_evict_score")
int BPF_PROG(audit_evict, struct llmos_model_ctx *model, s64 answer)
{
	struct llmos_audit_record *record = record_begin(LLMOS_AUDIT_EVICT_SCORE, answer);

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
	struct llmos_audit_record *record = record_begin(LLMOS_AUDIT_ADMIT, answer);

	if (!record)
		return 0;
	record->group = request->group;
	record->bytes = request->bytes;
	bpf_probe_read_kernel_str(record->device, sizeof(record->device), request->device);
	bpf_probe_read_kernel_str(record->name, sizeof(record->name), request->name);
	bpf_ringbuf_submit(record, 0);
	return 0;
}
