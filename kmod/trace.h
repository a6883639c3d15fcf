/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints, one for each fact that event.c tells. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM llmos

#if !defined(LLMOS_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define LLMOS_TRACE_H

#include <linux/tracepoint.h>

#include "device.h"
#include "group.h"
#include "lane.h"
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

/*
 * What happens to a lane. @value is the policy's key (queue; 0: none), or
 * nanoseconds: of waiting (grant), of the turn (release, overrun, lose), in all
 * (close); of create the weight.
 */
DECLARE_EVENT_CLASS(llmos_lane_class,
	TP_PROTO(struct llmos_lane *lane, s64 value),
	TP_ARGS(lane, value),
	TP_STRUCT__entry(
		__field(u64, lane)
		__field(u64, group)
		__field(s64, value)
		__array(char, device, LLMOS_DEVICE_ID_SIZE)
		__array(char, name, LLMOS_LANE_NAME_SIZE)
	),
	TP_fast_assign(
		__entry->lane = lane->id;
		__entry->group = lane->gd->group->id;
		__entry->value = value;
		memcpy(__entry->device, lane->device->id, LLMOS_DEVICE_ID_SIZE);
		memcpy(__entry->name, lane->name, LLMOS_LANE_NAME_SIZE);
	),
	TP_printk("lane=%llu name=%s device=%s group=%llu value=%lld", __entry->lane,
		  __entry->name, __entry->device, __entry->group, __entry->value)
);

#define LLMOS_LANE_EVENT(event)							\
	DEFINE_EVENT(llmos_lane_class, llmos_lane_##event,			\
		TP_PROTO(struct llmos_lane *lane, s64 value),			\
		TP_ARGS(lane, value))

LLMOS_LANE_EVENT(create);
LLMOS_LANE_EVENT(queue);
LLMOS_LANE_EVENT(grant);
LLMOS_LANE_EVENT(release);
LLMOS_LANE_EVENT(overrun);
LLMOS_LANE_EVENT(lose);
LLMOS_LANE_EVENT(close);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
