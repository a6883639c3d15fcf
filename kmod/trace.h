/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints, one for each fact that event.c tells. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM llmos

#if !defined(LLMOS_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define LLMOS_TRACE_H

#include <linux/tracepoint.h>

#include "llmos.h"

DECLARE_EVENT_CLASS(llmos_model_class,
	TP_PROTO(struct llmos_model *model, u64 bytes, int result),
	TP_ARGS(model, bytes, result),
	TP_STRUCT__entry(
		__string(name, model->name)
		__field(u64, ino)
		__field(u64, bytes)
		__field(u32, state)
		__field(int, result)
	),
	TP_fast_assign(
		__assign_str(name);
		__entry->ino = model->inode.i_ino;
		__entry->bytes = bytes;
		__entry->state = model->state;
		__entry->result = result;
	),
	TP_printk("name=%s ino=%llu state=%s bytes=%llu result=%d", __get_str(name), __entry->ino,
		  __print_symbolic(__entry->state,
				   { LLMOS_STATE_FILLING, "filling" },
				   { LLMOS_STATE_SEALING, "sealing" },
				   { LLMOS_STATE_SEALED, "sealed" },
				   { LLMOS_STATE_EVICTED, "evicted" }),
		  __entry->bytes, __entry->result)
);

#define LLMOS_MODEL_EVENT(event)						\
	DEFINE_EVENT(llmos_model_class, llmos_##event,				\
		TP_PROTO(struct llmos_model *model, u64 bytes, int result),	\
		TP_ARGS(model, bytes, result))

LLMOS_MODEL_EVENT(create);
LLMOS_MODEL_EVENT(fill);
LLMOS_MODEL_EVENT(seal);
LLMOS_MODEL_EVENT(remove);
LLMOS_MODEL_EVENT(evict);
LLMOS_MODEL_EVENT(open);
LLMOS_MODEL_EVENT(map);
LLMOS_MODEL_EVENT(revoke);
LLMOS_MODEL_EVENT(free);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
