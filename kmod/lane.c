// SPDX-License-Identifier: GPL-2.0-only
/*
 * A lane: its descriptor, and what can be asked of it.
 *
 * Policies are asked before the lock is taken, by the lane's own task: what they
 * answer may be a moment old, which an order can bear.
 */
#include <linux/anon_inodes.h>
#include <linux/cgroup.h>
#include <linux/file.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "device.h"
#include "group.h"
#include "hook.h"
#include "lane.h"
#include "llmos.h"
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

/* ---- what policies are asked ---- */

struct answers {
	s64 key;
	u64 slice_ns;
};

static void fill_context(struct llmos_lane *lane, struct llmos_lane_ctx *ctx, u64 now)
{
	struct llmos_lanes *lanes = lanes_of(lane);

	*ctx = (struct llmos_lane_ctx) {
		.lane = lane->id,
		.group = lane->gd->group->id,
		.now_ns = now,
		.group_used_ns = atomic64_read(&lane->gd->time_usage_ns),
		.weight = lane->entity.weight,
		.group_weight = READ_ONCE(lane->gd->share.entity.weight),
		.lane_class = lane->class,
		.slots = READ_ONCE(lane->device->slots),
		.slice_ns = READ_ONCE(llmos_knobs.slice_ns),
		.task = current,
	};
	strscpy(ctx->device, lane->device->id);
	strscpy(ctx->name, lane->name);

	spin_lock_bh(&lanes->lock);
	ctx->used_ns = lane->used_ns;
	ctx->vruntime = lane->entity.vruntime;
	ctx->waited_ns = lane->waited_ns;
	ctx->turns = lane->turns;
	ctx->overruns = lane->overruns;
	ctx->waiting = lanes->waiting;
	spin_unlock_bh(&lanes->lock);
}

static struct answers ask_policies(struct llmos_lane *lane, const struct llmos_lane_turn *turn)
{
	u64 now = ktime_get_ns(), deadline = turn->deadline_ns ?: lane->deadline_ns;
	struct llmos_lane_ctx ctx;
	struct answers answers;

	fill_context(lane, &ctx, now);
	ctx.deadline_ns = deadline ? now + min(deadline, (u64)S64_MAX / 2) : 0;
	ctx.cost_ns = turn->cost_ns ?: lane->cost_ns;
	rcu_read_lock();	/* keeps the cgroup, not the hooks */
	ctx.cgroup = task_dfl_cgroup(current);
	answers.key = llmos_ask_lane_key(&ctx);
	answers.slice_ns = llmos_ask_lane_slice(&ctx);
	rcu_read_unlock();
	return answers;
}

/* ---- waiting ---- */

/* Who ends a wait has changed the state first. Clears what is told only once. */
int llmos_lane_outcome(struct llmos_lane *lane)
{
	lockdep_assert_held(&lanes_of(lane)->lock);
	if (lane->gone)
		return -ENODEV;
	if (lane->state == LLMOS_LANE_HOLDING) {
		lane->collected = true;
		return 0;
	}
	if (!lane->lost)
		return -ECANCELED;
	lane->lost = false;
	return -ESTALE;
}

static long sleep_on(struct llmos_lane *lane, u64 timeout_ns)
{
	if (!timeout_ns)
		return wait_event_interruptible(lane->wait,
						READ_ONCE(lane->state) != LLMOS_LANE_WAITING);
	return wait_event_interruptible_hrtimeout(lane->wait,
						  READ_ONCE(lane->state) != LLMOS_LANE_WAITING,
						  ns_to_ktime(min(timeout_ns, (u64)KTIME_MAX)));
}

static int wait_for_turn(struct llmos_lane *lane, u64 timeout_ns)
{
	struct llmos_lanes *lanes = lanes_of(lane);
	long ret = sleep_on(lane, timeout_ns);

	spin_lock_bh(&lanes->lock);
	lane->asked = false;
	if (lane->state != LLMOS_LANE_WAITING) {
		ret = llmos_lane_outcome(lane);
	} else {
		llmos_turn_unqueue(lane);
		ret = ret == -ETIME ? -ETIMEDOUT : timeout_ns ? -EINTR : -ERESTARTSYS;
	}
	spin_unlock_bh(&lanes->lock);
	return ret;
}

static void queue(struct llmos_lane *lane, const struct answers *answers, u64 now)
{
	lane->slice_ns = answers->slice_ns;
	lane->lost = false;
	llmos_turn_queue(lane, answers->key, now);
}

/* Right after queueing: 0 when the turn came at once; who waits has said so. */
static int queued(struct llmos_lane *lane, const struct llmos_lane_turn *turn,
		  enum llmos_asker asker)
{
	if (lane->state != LLMOS_LANE_WAITING)
		return llmos_lane_outcome(lane);
	if (turn->flags & LLMOS_LANE_NONBLOCK)
		return -EAGAIN;
	lane->asked = true;
	return -EIOCBQUEUED;
}

static int finish_asking(struct llmos_lane *lane, struct llmos_lane_turn *turn,
			 enum llmos_asker asker, int ret)
{
	if (ret == -EIOCBQUEUED && asker == LLMOS_ASKER_THREAD)
		ret = wait_for_turn(lane, turn->timeout_ns);
	if (!ret) {
		turn->slice_ns = READ_ONCE(lane->slice_ns);
		turn->waited_ns = READ_ONCE(lane->granted_at_ns) - READ_ONCE(lane->queued_at_ns);
	}
	return ret;
}

static bool wait_valid(const struct llmos_lane_turn *turn, enum llmos_asker asker)
{
	if (turn->flags & ~(asker == LLMOS_ASKER_THREAD ? LLMOS_LANE_NONBLOCK : 0))
		return false;
	return !(turn->flags & LLMOS_LANE_NONBLOCK) || !turn->timeout_ns;
}

/* ---- the commands ---- */

int llmos_lane_acquire(struct llmos_lane *lane, struct llmos_lane_turn *turn,
		       enum llmos_asker asker)
{
	struct llmos_lanes *lanes = lanes_of(lane);
	struct answers answers = {};
	u64 now;
	int ret;

	if (!wait_valid(turn, asker) || turn->used_ns)
		return -EINVAL;
	if (READ_ONCE(lane->state) == LLMOS_LANE_IDLE && !READ_ONCE(lane->gone))
		answers = ask_policies(lane, turn);

	spin_lock_bh(&lanes->lock);
	now = ktime_get_ns();
	if (lane->gone) {
		ret = -ENODEV;
	} else if (lane->asked) {
		ret = -EALREADY;
	} else if (lane->state == LLMOS_LANE_HOLDING) {
		ret = lane->collected ? -EBUSY : llmos_lane_outcome(lane);
	} else {
		if (lane->state == LLMOS_LANE_IDLE) {
			if (!answers.slice_ns)	/* it had a turn a moment ago */
				answers.slice_ns = READ_ONCE(llmos_knobs.slice_ns);
			queue(lane, &answers, now);
			llmos_turns_give(lanes, now);
		}
		ret = queued(lane, turn, asker);
	}
	spin_unlock_bh(&lanes->lock);
	return finish_asking(lane, turn, asker, ret);
}

/*
 * Nothing to report on a lane that has no turn, or whose turn has not reached yet
 * who sleeps for it: that one must find it.
 */
static int check_holding(struct llmos_lane *lane)
{
	if (lane->gone)
		return -ENODEV;
	if (lane->asked)
		return -EALREADY;
	if (lane->state == LLMOS_LANE_HOLDING)
		return 0;
	if (!lane->lost)
		return -EPERM;
	lane->lost = false;
	return -ESTALE;
}

/* 0: the turn goes on. 1: its slice is over. */
static int yield_report(struct llmos_lane *lane, u64 used_ns)
{
	struct llmos_lanes *lanes = lanes_of(lane);
	int ret;

	spin_lock_bh(&lanes->lock);
	ret = check_holding(lane);
	if (!ret) {
		lane->collected = true;
		llmos_turn_charge(lane, used_ns, ktime_get_ns());
		ret = lane->turn_used_ns >= lane->slice_ns || llmos_entity_throttled(&lane->entity);
	}
	spin_unlock_bh(&lanes->lock);
	return ret;
}

int llmos_lane_yield(struct llmos_lane *lane, struct llmos_lane_turn *turn,
		     enum llmos_asker asker)
{
	struct llmos_lanes *lanes = lanes_of(lane);
	struct answers answers;
	u64 now;
	int ret;

	if (!wait_valid(turn, asker))
		return -EINVAL;
	ret = yield_report(lane, turn->used_ns);
	if (ret <= 0)
		return finish_asking(lane, turn, LLMOS_ASKER_COMMAND, ret);
	answers = ask_policies(lane, turn);

	spin_lock_bh(&lanes->lock);
	ret = check_holding(lane);
	if (!ret) {
		now = ktime_get_ns();
		llmos_turn_charge(lane, 0, now);
		queue(lane, &answers, now);	/* before the end: it did not pause */
		llmos_turn_end(lane);
		llmos_turns_give(lanes, now);
		ret = queued(lane, turn, asker);
	}
	spin_unlock_bh(&lanes->lock);
	return finish_asking(lane, turn, asker, ret);
}

int llmos_lane_release(struct llmos_lane *lane, const struct llmos_lane_turn *turn)
{
	struct llmos_lanes *lanes = lanes_of(lane);
	u64 now;
	int ret;

	if (turn->flags || turn->timeout_ns || turn->deadline_ns || turn->cost_ns)
		return -EINVAL;
	spin_lock_bh(&lanes->lock);
	ret = check_holding(lane);
	if (!ret) {
		now = ktime_get_ns();
		llmos_turn_charge(lane, turn->used_ns, now);
		llmos_turn_end(lane);
		trace_llmos_lane_release(lane, lane->turn_used_ns);
		llmos_turns_give(lanes, now);
	}
	spin_unlock_bh(&lanes->lock);
	return ret;
}

int llmos_lane_cancel(struct llmos_lane *lane, const struct llmos_lane_turn *turn)
{
	struct llmos_lanes *lanes = lanes_of(lane);
	int ret = -ENOENT;

	if (turn->flags || turn->used_ns || turn->timeout_ns || turn->deadline_ns || turn->cost_ns)
		return -EINVAL;
	spin_lock_bh(&lanes->lock);
	if (lane->state == LLMOS_LANE_WAITING) {
		llmos_turn_unqueue(lane);
		ret = 0;
	}
	spin_unlock_bh(&lanes->lock);
	return ret;
}

static void lane_stat(struct llmos_lane *lane, struct llmos_lane_stat *stat)
{
	struct llmos_lanes *lanes = lanes_of(lane);

	stat->id = lane->id;
	stat->cgroup = lane->gd->group->id;
	stat->deadline_ns = lane->deadline_ns;
	stat->cost_ns = lane->cost_ns;
	stat->weight = lane->entity.weight;
	stat->lane_class = lane->class;
	strscpy_pad(stat->device, lane->device->id);
	strscpy_pad(stat->name, lane->name);

	spin_lock_bh(&lanes->lock);
	stat->state = lane->gone ? LLMOS_LANE_GONE : lane->state;
	stat->used_ns = lane->used_ns;
	stat->waited_ns = lane->waited_ns;
	stat->turns = lane->turns;
	stat->slice_ns = lane->slice_ns;
	stat->overruns = lane->overruns;
	stat->lost = lane->losses;
	spin_unlock_bh(&lanes->lock);
}

static struct llmos_lane *lane_of_call(struct llmos_call *call)
{
	return call->file->private_data;
}

static int run_acquire(struct llmos_call *call)
{
	return llmos_lane_acquire(lane_of_call(call), call->args, LLMOS_ASKER_THREAD);
}

static int run_yield(struct llmos_call *call)
{
	return llmos_lane_yield(lane_of_call(call), call->args, LLMOS_ASKER_THREAD);
}

static int run_release(struct llmos_call *call)
{
	return llmos_lane_release(lane_of_call(call), call->args);
}

static int run_cancel(struct llmos_call *call)
{
	return llmos_lane_cancel(lane_of_call(call), call->args);
}

static int run_stat(struct llmos_call *call)
{
	lane_stat(lane_of_call(call), call->args);
	return 0;
}

static const struct llmos_command commands[] = {
	{ LLMOS_LANE_ACQUIRE, sizeof(struct llmos_lane_turn), run_acquire },
	{ LLMOS_LANE_YIELD, sizeof(struct llmos_lane_turn), run_yield },
	{ LLMOS_LANE_RELEASE, sizeof(struct llmos_lane_turn), run_release },
	{ LLMOS_LANE_CANCEL, sizeof(struct llmos_lane_turn), run_cancel },
	{ LLMOS_LANE_STAT, sizeof(struct llmos_lane_stat), run_stat },
};

/* ---- the descriptor ---- */

static long lane_ioctl(struct file *file, unsigned int number, unsigned long address)
{
	return llmos_command_run(commands, ARRAY_SIZE(commands), file, number,
				 (void __user *)address);
}

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

	lane_stat(file->private_data, &stat);
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
	.unlocked_ioctl = lane_ioctl,
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

int llmos_lane_create(struct llmos_call *call)
{
	int ret;

	if (!create_valid(call->args))
		return -EINVAL;
	ret = -ENOSPC;
	if (atomic64_inc_return(&lane_count) <= READ_ONCE(llmos_knobs.lanes_max))
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
