/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lanes: streams of device work that take turns, and the shares of device time
 * that groups have. One run queue (struct llmos_lanes) is embedded in each
 * device, one share (struct llmos_share) in each pair of group and device.
 *
 * lanes->lock guards everything here but what is marked constant. Timers take it,
 * so softirqs are off under it. It is a leaf: under it are taken only the lock of
 * a lane's wait queue, the work queue's and io_uring's; no policy is asked.
 */
#ifndef LLMOS_LANE_H
#define LLMOS_LANE_H

#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/timer.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/llmos.h>

struct file;
struct io_uring_cmd;
struct llmos_call;
struct llmos_device;
struct llmos_group_device;
struct llmos_lane;
struct llmos_lanes;
struct llmos_share;
struct llmos_thread;

/* The orders in which an entity can stand among its parent's others. */
enum llmos_order {
	LLMOS_BY_VRUNTIME,	/* waiting, no policy had an opinion: the fair order */
	LLMOS_BY_KEY,		/* waiting, with the key that a policy answered */
	LLMOS_BY_AGE,		/* waiting: since when */
	LLMOS_RUNNING,		/* having a turn, by vruntime */
	LLMOS_ORDERS
};

/* What takes turns: a lane, or a share with all that is below it. */
struct llmos_entity {
	struct llmos_share *parent;	/* constant; NULL: the root of a device */
	u64 vruntime;			/* ns of device time, as if of the default weight */
	u32 weight;
	bool is_share;			/* constant */
	struct llmos_rank {
		struct rb_node node;
		s64 key;
	} rank[LLMOS_ORDERS];
};

/*
 * A group's share of a device's time. It stands in its parent's order as long as
 * its own such order is not empty, so the first lane of all is found by walking
 * down, and every change costs O(depth * log(siblings)).
 */
struct llmos_share {
	struct llmos_entity entity;
	struct llmos_lanes *lanes;		/* constant */
	struct rb_root_cached order[LLMOS_ORDERS];
	u64 vruntime_min;			/* of the entities below; never falls */
	u32 depth;				/* constant; the device's root has 0 */

	/* time.max: quota of each period; what is used beyond it is owed to the next */
	u64 quota_ns;				/* 0: no limit */
	u64 period_ns;
	u64 period_start_ns;
	u64 period_used_ns;
	u64 throttled_at_ns;
	struct rb_node throttled;		/* in lanes->throttled */
	u64 refill_at_ns;			/* its key: not after the end of the period */

	/* beyond time.stat; this group and all below it */
	u64 waited_ns;
	u64 overruns;		/* turns that went far beyond their slice */
	u64 lost;		/* turns taken from holders that stalled */
};

/* A device's run queue. */
struct llmos_lanes {
	spinlock_t lock;
	struct llmos_share root;	/* above the root group's share; no group's */
	unsigned int running;		/* turns under way */
	unsigned int waiting;
	unsigned int since_aged;	/* turns since one was given by age */
	struct list_head all;		/* lanes */
	struct list_head holders;	/* lanes that have a turn */
	struct rb_root_cached throttled;	/* shares, by when they are to be looked at */
	struct delayed_work watchdog;
	u64 watch_at_ns;		/* U64_MAX: not armed */
	u64 used_ns;
	u64 overruns;
	u64 lost;
};

/* ---- what device.c calls: see device.h ---- */
int llmos_lanes_init(struct llmos_device *device);
void llmos_lanes_shutdown(struct llmos_device *device);
void llmos_lanes_changed(struct llmos_device *device);
void llmos_lanes_exit(struct llmos_device *device);

struct llmos_lanes_stat {
	u64 used_ns;
	u64 overruns;
	u64 lost;
	u32 running;
	u32 waiting;
};
void llmos_lanes_stat(struct llmos_device *device, struct llmos_lanes_stat *stat);

/* ---- what group.c calls: see group.h ---- */
void llmos_share_init(struct llmos_group_device *gd);
void llmos_share_changed(struct llmos_group_device *gd);
void llmos_share_exit(struct llmos_group_device *gd);

/* ---- share.c: the orders; lanes->lock is held ---- */
void llmos_share_setup(struct llmos_share *share, struct llmos_lanes *lanes,
		       struct llmos_share *parent);
void llmos_entity_init(struct llmos_entity *entity, struct llmos_share *parent, u32 weight);
void llmos_entity_rank(struct llmos_entity *entity, enum llmos_order order, bool in, s64 key);
void llmos_entity_charge(struct llmos_entity *entity, u64 used_ns, u64 penalty_ns, u64 now);
bool llmos_entity_throttled(const struct llmos_entity *entity);
struct llmos_lane *llmos_share_first(struct llmos_share *share, enum llmos_order order);
u64 llmos_shares_refill(struct llmos_lanes *lanes, u64 now);	/* when to call again */

static inline bool llmos_ranked(const struct llmos_entity *entity, enum llmos_order order)
{
	return !RB_EMPTY_NODE(&entity->rank[order].node);
}

/* ---- one lane ---- */

/*
 * IDLE --queue--> WAITING --grant--> HOLDING --end--> IDLE
 *
 * Its file owns it. One asker at a time: a thread that sleeps in the kernel, or
 * an io_uring command, or nobody (a non-blocking acquire that polls).
 */
struct llmos_lane {
	struct llmos_entity entity;
	struct llmos_device *device;		/* constant; a reference */
	struct llmos_group_device *gd;		/* constant; its group is held */
	struct list_head all;
	struct list_head holder;
	wait_queue_head_t wait;
	struct llmos_thread *asker;		/* the last; a reference. See task_class.h */
	struct io_uring_cmd *command;		/* completed when the wait ends */
	struct timer_list timeout;		/* of the command */
	u64 command_until_ns;			/* U64_MAX: no time-out */
	u64 id;					/* constant */

	u32 state;				/* LLMOS_LANE_*; may be read without the lock */
	u32 counted;				/* the state that the asker is told to be in */
	u32 class;				/* constant */
	bool asked;				/* somebody sleeps or a command is pending */
	bool collected;				/* the turn reached its asker */
	bool keyed;				/* waits with a policy's key */
	bool overran;				/* this turn */
	bool lost;				/* the last turn was taken away; to be told */
	bool gone;				/* the device was removed; one-way */
	u32 overruns_in_row;

	u64 queued_at_ns;
	u64 granted_at_ns;
	u64 reported_at_ns;			/* time is accounted up to here */
	u64 turn_used_ns;
	u64 slice_ns;
	u64 deadline_ns;			/* constant: relative to each acquire; 0: none */
	u64 cost_ns;				/* constant: hint for each turn; 0: none */
	u64 turn_deadline_ns;			/* absolute, of this acquire */
	u64 turn_cost_ns;

	u64 used_ns;
	u64 waited_ns;
	u64 turns;
	u32 overruns;
	u32 losses;
	char name[LLMOS_LANE_NAME_SIZE];	/* constant */
};

static inline struct llmos_lane *llmos_lane_of(struct llmos_entity *entity)
{
	return container_of(entity, struct llmos_lane, entity);
}

/* lanes.c: turns; lanes->lock is held */
void llmos_turn_queue(struct llmos_lane *lane, s64 key, u64 now);
void llmos_turn_unqueue(struct llmos_lane *lane);
void llmos_turn_charge(struct llmos_lane *lane, u64 used_ns, u64 now);
void llmos_turn_end(struct llmos_lane *lane);
void llmos_turns_give(struct llmos_lanes *lanes, u64 now);

/* lane_ring.c: io_uring */
int llmos_lane_uring_cmd(struct io_uring_cmd *command, unsigned int issue_flags);
void llmos_lane_complete(struct llmos_lane *lane, int result);	/* lanes->lock is held */
void llmos_lane_timeout(struct timer_list *timer);

/* lane.c: the commands */
enum llmos_asker {
	LLMOS_ASKER_THREAD,	/* waits until the turn comes, unless LLMOS_LANE_NONBLOCK */
	LLMOS_ASKER_COMMAND,	/* is answered -EIOCBQUEUED: then lane->asked is the caller's */
};
int llmos_lane_acquire(struct llmos_lane *lane, struct llmos_lane_turn *turn,
		       enum llmos_asker asker);
int llmos_lane_yield(struct llmos_lane *lane, struct llmos_lane_turn *turn,
		     enum llmos_asker asker);
int llmos_lane_release(struct llmos_lane *lane, const struct llmos_lane_turn *turn);
int llmos_lane_cancel(struct llmos_lane *lane, const struct llmos_lane_turn *turn);
int llmos_lane_outcome(struct llmos_lane *lane);	/* of a wait that ended; lock held */
void llmos_lane_stat(struct llmos_lane *lane, struct llmos_lane_stat *stat);
long llmos_lane_ioctl(struct file *file, unsigned int number, unsigned long address);

/* lane_file.c: the descriptor */
extern struct workqueue_struct *llmos_lane_queue;
int llmos_lane_create(struct llmos_call *call);		/* a command of /dev/llmos */
int llmos_lane_init(void);
void llmos_lane_exit(void);

/* Knobs, /sys/fs/llmos/lanes; lane_knobs.c */
struct llmos_knobs {
	u64 slice_ns;		/* of a turn, where no policy answers */
	u64 claim_ns;		/* in which a turn that was polled for must be collected */
	u64 stall_ns;		/* a turn without a report for so long is taken away */
	u64 wait_max_ns;	/* who waited longer has turns whatever a policy says */
	u64 lanes_max;		/* on the machine */
};
extern struct llmos_knobs llmos_knobs;	/* READ_ONCE() */
u64 llmos_lane_count(void);
int llmos_knobs_init(void);
void llmos_knobs_exit(void);

#endif
