/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a CPU scheduler is told of a task: llmos_task_class(). Counted by thread,
 * because a lane belongs to whoever has its descriptor, and its turn to the thread
 * that asked for it last.
 */
#ifndef LLMOS_TASK_CLASS_H
#define LLMOS_TASK_CLASS_H

#include <linux/types.h>

struct llmos_lane;
struct llmos_thread;

/* As in include/llmos/policy.bpf.h */
enum llmos_task_class {
	LLMOS_TASK_NONE,
	LLMOS_TASK_FEEDS,	/* waits for a turn; or another thread of its process has one */
	LLMOS_TASK_HOLDS,	/* a lane that it asked for has a turn */
};

/*
 * The current thread as the asker of a lane, with a reference: NULL when it is that
 * already, or where there is no memory, and then its class is not told. May sleep.
 */
struct llmos_thread *llmos_thread_asks(const struct llmos_lane *lane);
void llmos_thread_put(struct llmos_thread *thread);	/* NULL is nothing; no lock of lanes held */

/* lanes->lock is held */
void llmos_lane_set_asker(struct llmos_lane *lane, struct llmos_thread **thread);	/* exchanged */
void llmos_lane_classify(struct llmos_lane *lane);	/* after ->state was changed */

u32 llmos_task_class(const void *task__ign);

int llmos_task_class_init(void);
void llmos_task_class_exit(void);

#endif
