// SPDX-License-Identifier: GPL-2.0-only
/* Every fact is told twice: as a tracepoint, and as an audit record when auditing is on. */
#include <linux/audit.h>

#include "llmos.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

static const char *const event_names[] = {
	[LLMOS_EVENT_CREATE] = "create",
	[LLMOS_EVENT_FILL] = "fill",
	[LLMOS_EVENT_SEAL] = "seal",
	[LLMOS_EVENT_REMOVE] = "remove",
	[LLMOS_EVENT_EVICT] = "evict",
	[LLMOS_EVENT_OPEN] = "open",
	[LLMOS_EVENT_MAP] = "map",
	[LLMOS_EVENT_REVOKE] = "revoke",
	[LLMOS_EVENT_FREE] = "free",
};

static void event_trace(enum llmos_event event, struct llmos_model *model, u64 bytes, int result)
{
	switch (event) {
	case LLMOS_EVENT_CREATE: trace_llmos_create(model, bytes, result); break;
	case LLMOS_EVENT_FILL: trace_llmos_fill(model, bytes, result); break;
	case LLMOS_EVENT_SEAL: trace_llmos_seal(model, bytes, result); break;
	case LLMOS_EVENT_REMOVE: trace_llmos_remove(model, bytes, result); break;
	case LLMOS_EVENT_EVICT: trace_llmos_evict(model, bytes, result); break;
	case LLMOS_EVENT_OPEN: trace_llmos_open(model, bytes, result); break;
	case LLMOS_EVENT_MAP: trace_llmos_map(model, bytes, result); break;
	case LLMOS_EVENT_REVOKE: trace_llmos_revoke(model, bytes, result); break;
	case LLMOS_EVENT_FREE: trace_llmos_free(model, bytes, result); break;
	}
}

/*
 * Evictions may come from reclaim: then the record must not wait for the audit
 * daemon, and whoever happens to be running has nothing to do with it.
 */
static void event_audit(enum llmos_event event, struct llmos_model *model, u64 bytes, int result)
{
	bool reclaim = event == LLMOS_EVENT_EVICT;
	struct audit_buffer *record;

	if (!audit_enabled)
		return;
	record = audit_log_start(audit_context(), reclaim ? GFP_NOWAIT : GFP_KERNEL,
				 AUDIT_KERNEL_OTHER);
	if (!record)
		return;
	/* Names are checked at creation: none needs quoting or escaping. */
	audit_log_format(record, "op=llmos-%s model=\"%s\" ino=%lu bytes=%llu res=%d",
			 event_names[event], model->name, (unsigned long)model->inode.i_ino, bytes,
			 !result);
	if (result)
		audit_log_format(record, " errno=%d", -result);
	if (!reclaim)
		audit_log_task_info(record);
	audit_log_end(record);
}

void llmos_event(enum llmos_event event, struct llmos_model *model, u64 bytes, int result)
{
	event_trace(event, model, bytes, result);
	event_audit(event, model, bytes, result);
}
