// SPDX-License-Identifier: GPL-2.0-only
/* A lane's descriptor: how it is made, watched and closed. */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "device.h"
#include "group.h"
#include "lane.h"
#include "llmos.h"
#include "task_class.h"
#include "trace.h"

/* Groups deeper than this take turns as part of the ancestor at this depth. */
#define DEPTH_MAX 64

/* There may be a hundred thousand. Kernels that check locks keep more in each. */
static_assert(IS_ENABLED(CONFIG_DEBUG_SPINLOCK) || IS_ENABLED(CONFIG_LOCKDEP) ||
	      sizeof(struct llmos_lane) <= 512);

struct workqueue_struct *llmos_lane_queue;
static struct kmem_cache *lane_cache;
static atomic64_t lane_count;
static atomic64_t lane_ids;

static struct llmos_lanes *lanes_of(struct llmos_lane *lane)
{
	return &lane->device->lanes;
}

/* ---- the descriptor ---- */

static __poll_t lane_poll(struct file *file, struct poll_table_struct *table)
{
	struct llmos_lane *lane = file->private_data;

	poll_wait(file, &lane->wait, table);
	if (READ_ONCE(lane->gone))
		return EPOLLHUP | EPOLLERR | EPOLLIN | EPOLLRDNORM;
	if (READ_ONCE(lane->state) == LLMOS_LANE_HOLDING)
		return EPOLLIN | EPOLLRDNORM;
	return READ_ONCE(lane->lost) ? EPOLLPRI : 0;
}

static void lane_free(struct llmos_lane *lane)
{
	struct llmos_group *group = lane->gd->group;

	timer_shutdown_sync(&lane->timeout);
	llmos_thread_put(lane->asker);
	llmos_group_put(group);
	llmos_device_put(lane->device);
	kmem_cache_free(lane_cache, lane);
}

/* No command and no sleeper is left: both hold the file. */
static int lane_release_file(struct inode *inode, struct file *file)
{
	struct llmos_lane *lane = file->private_data;
	struct llmos_lanes *lanes = lanes_of(lane);
	u64 now;

	spin_lock_bh(&lanes->lock);
	now = ktime_get_ns();
	if (lane->state == LLMOS_LANE_WAITING) {
		llmos_turn_unqueue(lane);
	} else if (lane->state == LLMOS_LANE_HOLDING) {
		llmos_turn_charge(lane, 0, now);
		llmos_turn_end(lane);
		llmos_turns_give(lanes, now);
	}
	list_del_init(&lane->all);
	trace_llmos_lane_close(lane, lane->used_ns);
	spin_unlock_bh(&lanes->lock);
	lane_free(lane);
	atomic64_dec(&lane_count);
	return 0;
}

/* As charges do; who may look into the process finds its lanes so. */
static void lane_show(struct seq_file *seq, struct file *file)
{
	static const char *const states[] = { "idle", "waiting", "holding", "gone" };
	struct llmos_lane_stat stat;

	llmos_lane_stat(file->private_data, &stat);
	seq_printf(seq, "llmos-lane:\t%llu\nllmos-device:\t%s\nllmos-state:\t%s\n", stat.id,
		   stat.device, states[stat.state]);
	seq_printf(seq, "llmos-name:\t%s\nllmos-group:\t%llu\nllmos-weight:\t%u\nllmos-class:\t%u\n",
		   stat.name, stat.cgroup, stat.weight, stat.lane_class);
	seq_printf(seq, "llmos-deadline-ns:\t%llu\nllmos-cost-ns:\t%llu\nllmos-slice-ns:\t%llu\n",
		   stat.deadline_ns, stat.cost_ns, stat.slice_ns);
	seq_printf(seq, "llmos-used-ns:\t%llu\nllmos-waited-ns:\t%llu\nllmos-turns:\t%llu\n",
		   stat.used_ns, stat.waited_ns, stat.turns);
	seq_printf(seq, "llmos-overruns:\t%u\nllmos-lost:\t%u\n", stat.overruns, stat.lost);
}

static const struct file_operations lane_fops = {
	.owner = THIS_MODULE,
	.release = lane_release_file,
	.poll = lane_poll,
	.unlocked_ioctl = llmos_lane_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.uring_cmd = llmos_lane_uring_cmd,
	.show_fdinfo = lane_show,
	.llseek = noop_llseek,
};

/* ---- making one ---- */

static struct llmos_share *share_for(struct llmos_group_device *gd)
{
	while (gd->share.depth > DEPTH_MAX)
		gd = gd->parent;
	return &gd->share;
}

/* In the current task's group; both references go to the lane. */
static struct llmos_lane *lane_alloc(struct llmos_device *device)
{
	struct llmos_lane *lane = kmem_cache_zalloc(lane_cache, GFP_KERNEL_ACCOUNT);
	struct llmos_group *group;

	if (!lane)
		return ERR_PTR(-ENOMEM);
	group = llmos_group_of_current();
	if (IS_ERR(group)) {
		kmem_cache_free(lane_cache, lane);
		return ERR_CAST(group);
	}
	lane->gd = llmos_group_device(group, device);
	if (IS_ERR(lane->gd)) {
		int ret = PTR_ERR(lane->gd);

		llmos_group_put(group);
		kmem_cache_free(lane_cache, lane);
		return ERR_PTR(ret);
	}
	lane->device = device;
	return lane;
}

static void lane_set_up(struct llmos_lane *lane, const struct llmos_lane_create *args)
{
	INIT_LIST_HEAD(&lane->all);
	INIT_LIST_HEAD(&lane->holder);
	init_waitqueue_head(&lane->wait);
	timer_setup(&lane->timeout, llmos_lane_timeout, 0);
	lane->id = atomic64_inc_return(&lane_ids);
	lane->class = args->lane_class;
	lane->deadline_ns = args->deadline_ns;
	lane->cost_ns = args->cost_ns;
	lane->slice_ns = READ_ONCE(llmos_knobs.slice_ns);
	strscpy(lane->name, args->name);
}

/* From here on a removal of the device finds it. */
static int lane_enter(struct llmos_lane *lane, u32 weight)
{
	struct llmos_lanes *lanes = lanes_of(lane);
	int ret = 0;

	spin_lock_bh(&lanes->lock);
	llmos_entity_init(&lane->entity, share_for(lane->gd), weight);
	if (READ_ONCE(lane->device->gone))
		ret = -ENODEV;
	else
		list_add_tail(&lane->all, &lanes->all);
	spin_unlock_bh(&lanes->lock);
	return ret;
}

static struct llmos_lane *lane_make(const struct llmos_lane_create *args)
{
	struct llmos_device *device = llmos_device_find_user(args->device);
	struct llmos_lane *lane;
	int ret;

	if (IS_ERR(device))
		return ERR_CAST(device);
	lane = lane_alloc(device);
	if (IS_ERR(lane)) {
		llmos_device_put(device);
		return lane;
	}
	lane_set_up(lane, args);
	ret = lane_enter(lane, args->weight ?: LLMOS_WEIGHT_DEFAULT);
	if (ret) {
		lane_free(lane);
		return ERR_PTR(ret);
	}
	return lane;
}

static bool create_valid(const struct llmos_lane_create *args)
{
	size_t length = strnlen(args->name, sizeof(args->name));

	return !args->flags && args->weight <= LLMOS_WEIGHT_MAX && length < sizeof(args->name) &&
	       (!length || llmos_name_valid(args->name));
}

static int make_with_file(struct llmos_call *call)
{
	struct llmos_lane *lane = lane_make(call->args);
	struct file *file;

	if (IS_ERR(lane))
		return PTR_ERR(lane);
	file = anon_inode_getfile("[llmos-lane]", &lane_fops, lane, O_RDWR);
	if (IS_ERR(file)) {
		spin_lock_bh(&lanes_of(lane)->lock);
		list_del_init(&lane->all);
		spin_unlock_bh(&lanes_of(lane)->lock);
		lane_free(lane);
		return PTR_ERR(file);
	}
	call->result = file;
	trace_llmos_lane_create(lane, lane->entity.weight);
	return 0;
}

/* The last eighth is for administrators: no user can keep them from making lanes. */
static bool within_max(u64 count)
{
	u64 max = READ_ONCE(llmos_knobs.lanes_max);

	return count <= max - max / 8 || (count <= max && capable(CAP_SYS_RESOURCE));
}

int llmos_lane_create(struct llmos_call *call)
{
	int ret;

	if (!create_valid(call->args))
		return -EINVAL;
	ret = -ENOSPC;
	if (within_max(atomic64_inc_return(&lane_count)))
		ret = make_with_file(call);
	if (ret)
		atomic64_dec(&lane_count);
	return ret;
}

u64 llmos_lane_count(void)
{
	return atomic64_read(&lane_count);
}

/* ---- set-up ---- */

int llmos_lane_init(void)
{
	lane_cache = KMEM_CACHE(llmos_lane, SLAB_ACCOUNT);
	if (!lane_cache)
		return -ENOMEM;
	llmos_lane_queue = alloc_workqueue("llmos_lanes", WQ_UNBOUND, 0);
	if (!llmos_lane_queue) {
		kmem_cache_destroy(lane_cache);
		return -ENOMEM;
	}
	return 0;
}

void llmos_lane_exit(void)
{
	destroy_workqueue(llmos_lane_queue);
	kmem_cache_destroy(lane_cache);
}
