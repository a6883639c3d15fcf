// SPDX-License-Identifier: GPL-2.0-only
/*
 * A lane: what can be asked of it.
 *
 * Policies are asked before the lock is taken, by the lane's own task: what they
 * answer may be a moment old, which an order can bear.
 */
#include <linux/cgroup.h>
#include <linux/sched/signal.h>
#include <linux/wait.h>

#include "device.h"
#include "group.h"
#include "hook.h"
#include "lane.h"
#include "llmos.h"
#include "task_class.h"
#include "trace.h"

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

/* Whoever was not refused is the lane's asker now; @thread becomes the one before. */
static void asked_by(struct llmos_lane *lane, struct llmos_thread **thread, int ret)
{
	if (!ret || ret == -EAGAIN || ret == -EIOCBQUEUED)
		llmos_lane_set_asker(lane, thread);
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
	struct llmos_thread *thread;
	u64 now;
	int ret;

	if (!wait_valid(turn, asker) || turn->used_ns)
		return -EINVAL;
	thread = llmos_thread_asks(lane);
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
	asked_by(lane, &thread, ret);
	spin_unlock_bh(&lanes->lock);
	llmos_thread_put(thread);
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
	struct llmos_thread *thread;
	struct answers answers;
	u64 now;
	int ret;

	if (!wait_valid(turn, asker))
		return -EINVAL;
	ret = yield_report(lane, turn->used_ns);
	if (ret <= 0)
		return finish_asking(lane, turn, LLMOS_ASKER_COMMAND, ret);
	answers = ask_policies(lane, turn);
	thread = llmos_thread_asks(lane);

	spin_lock_bh(&lanes->lock);
	ret = check_holding(lane);
	if (!ret) {
		now = ktime_get_ns();
		llmos_turn_charge(lane, 0, now);
		queue(lane, &answers, now);	/* before the end: it did not pause */
		llmos_turn_end(lane);
		llmos_turns_give(lanes, now);
		llmos_lane_classify(lane);
		ret = queued(lane, turn, asker);
		asked_by(lane, &thread, ret);
	}
	spin_unlock_bh(&lanes->lock);
	llmos_thread_put(thread);
	ret = finish_asking(lane, turn, asker, ret);
	return ret == -ERESTARTSYS ? -EINTR : ret;	/* what was reported cannot be again */
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

void llmos_lane_stat(struct llmos_lane *lane, struct llmos_lane_stat *stat)
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
	llmos_lane_stat(lane_of_call(call), call->args);
	return 0;
}

static const struct llmos_command commands[] = {
	{ LLMOS_LANE_ACQUIRE, sizeof(struct llmos_lane_turn), run_acquire },
	{ LLMOS_LANE_YIELD, sizeof(struct llmos_lane_turn), run_yield },
	{ LLMOS_LANE_RELEASE, sizeof(struct llmos_lane_turn), run_release },
	{ LLMOS_LANE_CANCEL, sizeof(struct llmos_lane_turn), run_cancel },
	{ LLMOS_LANE_STAT, sizeof(struct llmos_lane_stat), run_stat },
};

long llmos_lane_ioctl(struct file *file, unsigned int number, unsigned long address)
{
	return llmos_command_run(commands, ARRAY_SIZE(commands), file, number,
				 (void __user *)address);
}
