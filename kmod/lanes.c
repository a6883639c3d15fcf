// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device's turns: who gets the next one, what turns cost, and the watchdog over
 * those who have one.
 */
#include <linux/wait.h>

#include "device.h"
#include "group.h"
#include "lane.h"
#include "task_class.h"
#include "trace.h"

/* While a policy orders lanes, one turn in so many is for who waited too long. */
#define AGED_EVERY	8

/* One report of device time; more is a lie or an accident. */
#define USED_MAX_NS	(3600 * NSEC_PER_SEC)

static struct llmos_device *device_of(struct llmos_lanes *lanes)
{
	return container_of(lanes, struct llmos_device, lanes);
}

static struct llmos_lanes *lanes_of(struct llmos_lane *lane)
{
	return &lane->device->lanes;
}

/* Adds to one of the counters of the lane's group and of all above it. */
#define for_each_share_above(share, lane) \
	for (share = (lane)->entity.parent; share->entity.parent; share = share->entity.parent)

/* ---- the watchdog's alarm ---- */

static void watch_at(struct llmos_lanes *lanes, u64 at_ns, u64 now)
{
	if (at_ns >= lanes->watch_at_ns)
		return;
	lanes->watch_at_ns = at_ns;
	mod_delayed_work(llmos_lane_queue, &lanes->watchdog,
			 at_ns > now ? nsecs_to_jiffies(at_ns - now) + 1 : 0);
}

static u64 overrun_at(const struct llmos_lane *lane)
{
	return lane->overran ? U64_MAX : lane->granted_at_ns + 2 * lane->slice_ns;
}

static u64 lost_at(const struct llmos_lane *lane)
{
	if (!lane->collected)
		return lane->granted_at_ns + READ_ONCE(llmos_knobs.claim_ns);
	return lane->reported_at_ns + READ_ONCE(llmos_knobs.stall_ns);
}

static void watch_holder(struct llmos_lane *lane, u64 now)
{
	watch_at(lanes_of(lane), min(overrun_at(lane), lost_at(lane)), now);
}

/* ---- waiting ---- */

void llmos_turn_queue(struct llmos_lane *lane, s64 key, u64 now)
{
	lane->queued_at_ns = now;
	lane->keyed = key;
	WRITE_ONCE(lane->state, LLMOS_LANE_WAITING);
	lanes_of(lane)->waiting++;
	llmos_entity_rank(&lane->entity, LLMOS_BY_AGE, true, now);
	if (key)
		llmos_entity_rank(&lane->entity, LLMOS_BY_KEY, true, key);
	else
		llmos_entity_rank(&lane->entity, LLMOS_BY_VRUNTIME, true, lane->entity.vruntime);
	if (!llmos_ranked(&lane->entity, LLMOS_RUNNING))
		llmos_lane_classify(lane);
	trace_llmos_lane_queue(lane, key);
}

static void turn_leave_queue(struct llmos_lane *lane)
{
	llmos_entity_rank(&lane->entity, LLMOS_BY_AGE, false, 0);
	llmos_entity_rank(&lane->entity, LLMOS_BY_KEY, false, 0);
	llmos_entity_rank(&lane->entity, LLMOS_BY_VRUNTIME, false, 0);
	lanes_of(lane)->waiting--;
}

/* Tells whoever waits that it is over; llmos_lane_outcome() says how. */
static void turn_notify(struct llmos_lane *lane)
{
	if (lane->command)
		llmos_lane_complete(lane, llmos_lane_outcome(lane));
	wake_up_all(&lane->wait);
}

void llmos_turn_unqueue(struct llmos_lane *lane)
{
	turn_leave_queue(lane);
	WRITE_ONCE(lane->state, LLMOS_LANE_IDLE);
	llmos_lane_classify(lane);
	turn_notify(lane);
}

/* ---- having a turn ---- */

static void turn_begin(struct llmos_lane *lane, u64 now)
{
	struct llmos_lanes *lanes = lanes_of(lane);
	u64 waited = now - lane->queued_at_ns;
	struct llmos_share *share;

	llmos_entity_rank(&lane->entity, LLMOS_RUNNING, true, lane->entity.vruntime);
	turn_leave_queue(lane);
	list_add_tail(&lane->holder, &lanes->holders);
	lanes->running++;

	lane->granted_at_ns = now;
	lane->reported_at_ns = now;
	lane->turn_used_ns = 0;
	lane->collected = false;
	lane->overran = false;
	lane->waited_ns += waited;
	lane->turns++;
	for_each_share_above(share, lane) {
		share->waited_ns += waited;
		atomic64_inc(&container_of(share, struct llmos_group_device, share)->time_turns);
	}
	WRITE_ONCE(lane->state, LLMOS_LANE_HOLDING);
	llmos_lane_classify(lane);	/* before it wakes: a scheduler asks then */
	trace_llmos_lane_grant(lane, waited);
	turn_notify(lane);
	watch_holder(lane, now);
}

/* A turn went far beyond its slice. Once is an accident and only recorded. */
static void turn_overrun(struct llmos_lane *lane, u64 ns)
{
	struct llmos_share *share;

	lane->overran = true;
	lane->overruns++;
	lane->overruns_in_row++;
	lanes_of(lane)->overruns++;
	for_each_share_above(share, lane)
		share->overruns++;
	trace_llmos_lane_overrun(lane, ns);
}

/* What is used beyond the slice counts twice for who does it again and again. */
static u64 turn_penalty(const struct llmos_lane *lane, u64 used_ns)
{
	u64 beyond = lane->turn_used_ns > lane->slice_ns ? lane->turn_used_ns - lane->slice_ns : 0;

	return lane->overran && lane->overruns_in_row > 1 ? min(beyond, used_ns) : 0;
}

/*
 * Time that was used since the last report: what the holder says, but not less
 * than it kept others from the device.
 */
void llmos_turn_charge(struct llmos_lane *lane, u64 used_ns, u64 now)
{
	used_ns = clamp(used_ns, now - lane->reported_at_ns, (u64)USED_MAX_NS);
	lane->reported_at_ns = now;
	lane->turn_used_ns += used_ns;
	lane->used_ns += used_ns;
	lanes_of(lane)->used_ns += used_ns;
	if (!lane->overran && lane->turn_used_ns > 2 * lane->slice_ns)
		turn_overrun(lane, lane->turn_used_ns);
	llmos_entity_charge(&lane->entity, used_ns, turn_penalty(lane, used_ns), now);
}

/*
 * Where the lane goes on waiting, it is queued already, and still counted as a
 * holder: it may be the next.
 */
void llmos_turn_end(struct llmos_lane *lane)
{
	if (!lane->overran)
		lane->overruns_in_row = 0;
	list_del_init(&lane->holder);
	lanes_of(lane)->running--;
	llmos_entity_rank(&lane->entity, LLMOS_RUNNING, false, 0);
	if (lane->state == LLMOS_LANE_HOLDING) {
		WRITE_ONCE(lane->state, LLMOS_LANE_IDLE);
		llmos_lane_classify(lane);
	}
}

/* ---- the next ---- */

/*
 * Fair queueing bounds every wait by itself. A policy does not: then one turn in
 * AGED_EVERY is for the lane that waited longest, if that was too long.
 */
static struct llmos_lane *turn_next(struct llmos_lanes *lanes, u64 now)
{
	struct llmos_lane *oldest = llmos_share_first(&lanes->root, LLMOS_BY_AGE);
	struct llmos_lane *keyed = llmos_share_first(&lanes->root, LLMOS_BY_KEY);

	if (!keyed)
		return llmos_share_first(&lanes->root, LLMOS_BY_VRUNTIME);
	lanes->since_aged++;
	if (lanes->since_aged < AGED_EVERY ||
	    now - oldest->queued_at_ns < READ_ONCE(llmos_knobs.wait_max_ns))
		return keyed;
	lanes->since_aged = 0;
	return oldest;
}

void llmos_turns_give(struct llmos_lanes *lanes, u64 now)
{
	struct llmos_device *device = device_of(lanes);
	struct llmos_lane *lane;

	lockdep_assert_held(&lanes->lock);
	if (READ_ONCE(device->gone))
		return;
	watch_at(lanes, llmos_shares_refill(lanes, now), now);
	while (lanes->running < READ_ONCE(device->slots) && (lane = turn_next(lanes, now)))
		turn_begin(lane, now);
}

/* ---- the watchdog ---- */

static void turn_lose(struct llmos_lane *lane, u64 now)
{
	struct llmos_share *share;

	llmos_turn_charge(lane, 0, now);
	llmos_turn_end(lane);
	lane->lost = true;
	lane->losses++;
	lanes_of(lane)->lost++;
	for_each_share_above(share, lane)
		share->lost++;
	trace_llmos_lane_lose(lane, now - lane->granted_at_ns);
	turn_notify(lane);
}

static void watchdog_run(struct work_struct *work)
{
	struct llmos_lanes *lanes = container_of(to_delayed_work(work), struct llmos_lanes,
						 watchdog);
	struct llmos_lane *lane, *next;
	u64 now;

	spin_lock_bh(&lanes->lock);
	now = ktime_get_ns();
	lanes->watch_at_ns = U64_MAX;
	list_for_each_entry_safe(lane, next, &lanes->holders, holder) {
		if (now >= lost_at(lane)) {
			turn_lose(lane, now);
			continue;
		}
		if (now >= overrun_at(lane))
			turn_overrun(lane, now - lane->granted_at_ns);
		watch_holder(lane, now);
	}
	llmos_turns_give(lanes, now);
	spin_unlock_bh(&lanes->lock);
}

/* ---- the device ---- */

int llmos_lanes_init(struct llmos_device *device)
{
	struct llmos_lanes *lanes = &device->lanes;

	spin_lock_init(&lanes->lock);
	INIT_LIST_HEAD(&lanes->all);
	INIT_LIST_HEAD(&lanes->holders);
	lanes->throttled = RB_ROOT_CACHED;
	INIT_DELAYED_WORK(&lanes->watchdog, watchdog_run);
	lanes->watch_at_ns = U64_MAX;
	llmos_share_setup(&lanes->root, lanes, NULL);
	return 0;
}

static void lane_fail(struct llmos_lane *lane, u64 now)
{
	list_del_init(&lane->all);
	lane->gone = true;
	if (lane->state == LLMOS_LANE_WAITING) {
		llmos_turn_unqueue(lane);
	} else if (lane->state == LLMOS_LANE_HOLDING) {
		llmos_turn_charge(lane, 0, now);
		llmos_turn_end(lane);
	}
	turn_notify(lane);
}

/* One by one: there may be a hundred thousand. Nobody is added, ->gone is set. */
void llmos_lanes_shutdown(struct llmos_device *device)
{
	struct llmos_lanes *lanes = &device->lanes;
	struct llmos_lane *lane;

	do {
		spin_lock_bh(&lanes->lock);
		lane = list_first_entry_or_null(&lanes->all, struct llmos_lane, all);
		if (lane)
			lane_fail(lane, ktime_get_ns());
		spin_unlock_bh(&lanes->lock);
		cond_resched();
	} while (lane);
}

void llmos_lanes_changed(struct llmos_device *device)
{
	spin_lock_bh(&device->lanes.lock);
	llmos_turns_give(&device->lanes, ktime_get_ns());
	spin_unlock_bh(&device->lanes.lock);
}

void llmos_lanes_exit(struct llmos_device *device)
{
	WARN_ON_ONCE(!list_empty(&device->lanes.all) || device->lanes.running);
	cancel_delayed_work_sync(&device->lanes.watchdog);
}

void llmos_lanes_stat(struct llmos_device *device, struct llmos_lanes_stat *stat)
{
	struct llmos_lanes *lanes = &device->lanes;

	spin_lock_bh(&lanes->lock);
	stat->used_ns = lanes->used_ns;
	stat->overruns = lanes->overruns;
	stat->lost = lanes->lost;
	stat->running = lanes->running;
	stat->waiting = lanes->waiting;
	spin_unlock_bh(&lanes->lock);
}
