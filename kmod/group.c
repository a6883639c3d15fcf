// SPDX-License-Identifier: GPL-2.0-only
/* The table of groups, and each group's accounts of devices. */
#include <linux/cgroup.h>
#include <linux/hashtable.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/tracepoint.h>

#include "llmos.h"
#include "device.h"
#include "group.h"

static DEFINE_SPINLOCK(llmos_groups_lock);
static DEFINE_HASHTABLE(groups, 10);	/* by id; each entry is a reference */
static struct workqueue_struct *groups_wq;
static struct tracepoint *rmdir_tracepoint;

/* ---- the table ---- */

/* Under RCU or the lock. */
static struct llmos_group *table_find(u64 id)
{
	struct llmos_group *group;

	hash_for_each_possible_rcu(groups, group, hash, id, lockdep_is_held(&llmos_groups_lock))
		if (group->id == id)
			return group;
	return NULL;
}

struct llmos_group *llmos_group_find(u64 cgroup_id)
{
	struct llmos_group *group;

	rcu_read_lock();
	group = table_find(cgroup_id);
	if (group && !kref_get_unless_zero(&group->kref))
		group = NULL;
	rcu_read_unlock();
	return group;
}

/* A cgroup that is being removed loses this flag before the tracepoint tells. */
bool llmos_cgroup_is_online(struct cgroup *cgroup)
{
	return READ_ONCE(cgroup->self.flags) & CSS_ONLINE;
}

/*
 * Enters @group, unless somebody was faster: then that one is returned. The
 * table's reference is taken here. A removed cgroup gets none: either its flag
 * is seen here, or group_rmdir() comes after and finds the entry.
 */
static struct llmos_group *table_enter(struct llmos_group *group, struct cgroup *cgroup)
{
	struct llmos_group *other;

	spin_lock(&llmos_groups_lock);
	other = table_find(group->id);
	if (other) {
		llmos_group_get(other);
	} else if (!llmos_cgroup_is_online(cgroup)) {
		other = ERR_PTR(-ENODEV);
	} else {
		hash_add_rcu(groups, &group->hash, group->id);
		llmos_group_get(group);		/* the table's */
		other = llmos_group_get(group);
	}
	spin_unlock(&llmos_groups_lock);
	return other;
}

/* ---- a group ---- */

static void account_free(struct llmos_group_device *gd)
{
	llmos_share_exit(gd);
	llmos_device_put(gd->device);
	kfree(gd);
}

/* Accounts before those of the parent, which the group holds until here. */
static void group_free(struct work_struct *work)
{
	struct llmos_group *group = container_of(work, struct llmos_group, work);
	struct llmos_group *parent = group->parent;
	struct llmos_group_device *gd;
	unsigned long index;

	xa_for_each(&group->devices, index, gd)
		account_free(gd);
	xa_destroy(&group->devices);
	kfree_rcu(group, rcu);
	llmos_group_put(parent);
}

static void group_release(struct kref *kref)
{
	queue_work(groups_wq, &container_of(kref, struct llmos_group, kref)->work);
}

void llmos_group_put(struct llmos_group *group)
{
	if (group)
		kref_put(&group->kref, group_release);
}

static struct llmos_group *group_alloc(u64 id, struct llmos_group *parent)
{
	struct llmos_group *group = kzalloc(sizeof(*group), GFP_KERNEL_ACCOUNT);

	if (!group)
		return NULL;
	kref_init(&group->kref);
	group->id = id;
	group->parent = parent ? llmos_group_get(parent) : NULL;
	group->weight = LLMOS_WEIGHT_DEFAULT;
	xa_init_flags(&group->devices, XA_FLAGS_ACCOUNT);
	INIT_WORK(&group->work, group_free);
	return group;
}

/* The group of one level, whose parent's is there. */
static struct llmos_group *group_of_level(struct cgroup *cgroup, struct llmos_group *parent)
{
	struct llmos_group *group = llmos_group_find(cgroup_id(cgroup)), *made;

	if (group)
		return group;
	made = group_alloc(cgroup_id(cgroup), parent);
	if (!made)
		return ERR_PTR(-ENOMEM);
	group = table_enter(made, cgroup);
	llmos_group_put(made);
	return group;
}

/* From the root down: a tree may be deeper than a stack. */
struct llmos_group *llmos_group_of_cgroup(struct cgroup *cgroup)
{
	struct llmos_group *group = llmos_group_find(cgroup_id(cgroup)), *parent = NULL;
	int level;

	if (group)
		return group;
	for (level = 0; level <= cgroup->level; level++) {
		group = group_of_level(cgroup_ancestor(cgroup, level), parent);
		llmos_group_put(parent);
		if (IS_ERR(group))
			break;
		parent = group;
	}
	return group;
}

struct llmos_group *llmos_group_of_current(void)
{
	struct cgroup *cgroup = llmos_current_cgroup();
	struct llmos_group *group = llmos_group_of_cgroup(cgroup);

	cgroup_put(cgroup);
	return group;
}

/* ---- accounts ---- */

static struct llmos_group_device *account_alloc(struct llmos_group *group,
						struct llmos_device *device,
						struct llmos_group_device *parent)
{
	struct llmos_group_device *gd = kzalloc(sizeof(*gd), GFP_KERNEL_ACCOUNT);

	if (!gd)
		return ERR_PTR(-ENOMEM);
	gd->group = group;
	gd->device = llmos_device_get(device);
	gd->parent = parent;
	gd->memory_max = S64_MAX;
	gd->time_quota_us = U64_MAX;
	gd->time_period_us = LLMOS_PERIOD_DEFAULT_US;
	llmos_share_init(gd);
	return gd;
}

static int account_make(struct llmos_group *group, struct llmos_device *device)
{
	struct llmos_group_device *parent = NULL, *gd, *old;

	if (group->parent)
		parent = llmos_group_device_peek(group->parent, device);
	gd = account_alloc(group, device, parent);
	if (IS_ERR(gd))
		return PTR_ERR(gd);
	old = xa_cmpxchg(&group->devices, device->index, NULL, gd, GFP_KERNEL_ACCOUNT);
	if (old)
		account_free(gd);
	return xa_err(old);
}

/* The topmost group that has none yet goes first, so that every account finds its parent's. */
struct llmos_group_device *llmos_group_device(struct llmos_group *group,
					      struct llmos_device *device)
{
	struct llmos_group_device *gd;
	struct llmos_group *top;
	int ret;

	while (!(gd = llmos_group_device_peek(group, device))) {
		top = group;
		while (top->parent && !llmos_group_device_peek(top->parent, device))
			top = top->parent;
		ret = account_make(top, device);
		if (ret)
			return ERR_PTR(ret);
	}
	return gd;
}

u64 llmos_group_root_current(struct llmos_device *device)
{
	struct llmos_group *root = llmos_group_find(cgroup_id(&cgrp_dfl_root.cgrp));
	struct llmos_group_device *gd = root ? llmos_group_device_peek(root, device) : NULL;
	u64 bytes = gd ? atomic64_read(&gd->memory_current) : 0;

	llmos_group_put(root);
	return bytes;
}

/* ---- removal of a cgroup ---- */

/* What is left in it is ruled by its ancestors alone. */
void llmos_group_lift_limits(struct llmos_group *group)
{
	struct llmos_group_device *gd;
	unsigned long index;

	xa_for_each(&group->devices, index, gd) {
		WRITE_ONCE(gd->memory_max, S64_MAX);
		WRITE_ONCE(gd->memory_low, 0);
		WRITE_ONCE(gd->time_quota_us, U64_MAX);
	}
}

static void group_bury(struct llmos_group *group)
{
	lockdep_assert_held(&llmos_groups_lock);
	WRITE_ONCE(group->dead, true);
	hash_del_rcu(&group->hash);
}

/* The tracepoint: under a spinlock of the kernel's, with preemption off. */
static void group_rmdir(void *unused, struct cgroup *cgroup, const char *path)
{
	struct llmos_group *group;

	if (cgroup->root != &cgrp_dfl_root)	/* of v1: ids are unique in one hierarchy only */
		return;
	spin_lock(&llmos_groups_lock);
	group = table_find(cgroup_id(cgroup));
	if (group)
		group_bury(group);
	spin_unlock(&llmos_groups_lock);
	if (!group)
		return;
	llmos_group_lift_limits(group);
	llmos_group_put(group);		/* the table's */
}

static void tracepoint_find(struct tracepoint *tracepoint, void *unused)
{
	if (!strcmp(tracepoint->name, "cgroup_rmdir"))
		rmdir_tracepoint = tracepoint;
}

/* ---- init ---- */

int llmos_group_init(void)
{
	int ret;

	groups_wq = alloc_workqueue("llmos_groups", WQ_UNBOUND, 0);
	if (!groups_wq)
		return -ENOMEM;
	for_each_kernel_tracepoint(tracepoint_find, NULL);
	ret = rmdir_tracepoint ?
		tracepoint_probe_register(rmdir_tracepoint, group_rmdir, NULL) : -EOPNOTSUPP;
	if (ret) {
		pr_err("llmos: no tracepoint cgroup_rmdir (CONFIG_TRACEPOINTS): %d\n", ret);
		destroy_workqueue(groups_wq);
	}
	return ret;
}

/* Nobody but the table holds a group any more, and children their parents. */
void llmos_group_exit(void)
{
	struct llmos_group *group;
	struct hlist_node *next;
	int bucket;

	tracepoint_probe_unregister(rmdir_tracepoint, group_rmdir, NULL);
	tracepoint_synchronize_unregister();

	hash_for_each_safe(groups, bucket, next, group, hash) {
		spin_lock(&llmos_groups_lock);
		group_bury(group);
		spin_unlock(&llmos_groups_lock);
		llmos_group_put(group);
	}
	destroy_workqueue(groups_wq);	/* after works that works have queued */
	rcu_barrier();
}
