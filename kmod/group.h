/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Groups: cgroup v2 directories as llmos sees them, with what each may take of
 * each device.
 *
 * A group is made when something is first charged, laned or limited in its
 * cgroup; its ancestors' groups with it. It is found by the cgroup's id until the
 * cgroup is removed (the tracepoint cgroup_rmdir), and lives on while charges or
 * lanes hold it, as a link of the chain to the root: its own limits are lifted
 * then, so that what is left in it is ruled by its ancestors alone. A group holds
 * its parent, and never the cgroup.
 *
 * Locks: llmos_groups_lock (group.c, a spinlock, innermost) covers the table and
 * ->dead. Counters are atomic; configuration is read with READ_ONCE().
 */
#ifndef LLMOS_GROUP_H
#define LLMOS_GROUP_H

#include <linux/atomic.h>
#include <linux/kref.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "device.h"
#include "lane.h"

struct cgroup;

#define LLMOS_WEIGHT_MIN	1
#define LLMOS_WEIGHT_DEFAULT	100
#define LLMOS_WEIGHT_MAX	10000
#define LLMOS_PERIOD_DEFAULT_US	100000

struct llmos_group {
	struct kref kref;
	struct llmos_group *parent;	/* NULL: the root of the hierarchy */
	u64 id;				/* cgroup_id(), the directory's inode number */
	u32 weight;			/* time.weight's "default" */
	bool dead;			/* the cgroup was removed; one-way */
	struct xarray devices;		/* struct llmos_group_device by device->index */

	/* group.c */
	struct hlist_node hash;
	struct rcu_head rcu;
	struct work_struct work;
};

/* What a group has to do with one device. Lives as long as its group does. */
struct llmos_group_device {
	struct llmos_group *group;
	struct llmos_device *device;	/* holds a reference */
	struct llmos_group_device *parent;	/* of the parent group; NULL at the root */

	/* memory: bytes, what is below included; charge.c */
	atomic64_t memory_current;
	atomic64_t memory_peak;
	u64 memory_max;			/* S64_MAX: no limit. Not the root's, which has none. */
	u64 memory_low;
	atomic64_t memory_events_max;	/* charges refused by this limit */
	atomic64_t memory_events_low;	/* charges refused to this group while it was below low */

	/* time, as configured here; for lane.c to read */
	u32 time_weight;		/* 0: the group's default; see llmos_group_weight() */
	u64 time_quota_us;		/* device time per period; U64_MAX: no bound */
	u64 time_period_us;

	/* time.stat, this group and all below it: lane.c adds, on every level */
	atomic64_t time_usage_ns;
	atomic64_t time_periods;	/* that passed with a quota, and work to do */
	atomic64_t time_throttled;	/* periods in which the quota ran out */
	atomic64_t time_throttled_ns;
	atomic64_t time_turns;		/* acquires that were granted */

	/* ---- lane.h: the scheduling entity of this group on this device ---- */
	struct llmos_share share;
};

/*
 * What group.c calls in lane.c (lane.h has them), in process context:
 *
 *   llmos_share_init(gd)     before anybody can find it; gd->parent is ready. May be
 *                            followed by exit at once (somebody else was faster)
 *   llmos_share_changed(gd)  weight, quota or period of @gd was changed
 *   llmos_share_exit(gd)     nobody holds the group; before the parent's exit
 */

int llmos_group_init(void);
void llmos_group_exit(void);

/* With a reference; ERR_PTR(-ENOMEM). May sleep. */
struct llmos_group *llmos_group_of_current(void);
struct llmos_group *llmos_group_of_cgroup(struct cgroup *cgroup);	/* also -ENODEV: removed */
/* The group of that cgroup if there is one by now, with a reference, or NULL. */
struct llmos_group *llmos_group_find(u64 cgroup_id);
static inline struct llmos_group *llmos_group_get(struct llmos_group *group)
{
	kref_get(&group->kref);
	return group;
}
void llmos_group_put(struct llmos_group *group);	/* any context; NULL is nothing */

/*
 * The group's account of a device, made with all of its ancestors' if need be.
 * Valid while the group is held. May sleep; ERR_PTR(-ENOMEM).
 */
struct llmos_group_device *llmos_group_device(struct llmos_group *group,
					      struct llmos_device *device);
/* Only if it is there: else NULL, and every figure is zero or the default. */
static inline struct llmos_group_device *llmos_group_device_peek(struct llmos_group *group,
								  struct llmos_device *device)
{
	return xa_load(&group->devices, device->index);
}

bool llmos_cgroup_is_online(struct cgroup *cgroup);	/* not removed */
/* Of a group whose cgroup was removed. */
void llmos_group_lift_limits(struct llmos_group *group);

/* Bytes charged to a device, whoever charged them. */
u64 llmos_group_root_current(struct llmos_device *device);

/* 1 to 10000: the weight in force among the siblings on that device. */
static inline u32 llmos_group_weight(const struct llmos_group_device *gd)
{
	return READ_ONCE(gd->time_weight) ?: READ_ONCE(gd->group->weight);
}

#endif
