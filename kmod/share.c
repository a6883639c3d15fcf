// SPDX-License-Identifier: GPL-2.0-only
/*
 * The order of lanes: weighted fair queueing over a tree of groups.
 *
 * An entity's vruntime is the device time it used, divided by its weight. The
 * smallest is served first, first among the groups, then in the group found. An
 * entity that comes back after a pause is put no further than one slice behind
 * the smallest of those that stayed, so sleep earns nothing; what it owes stays.
 *
 *   A. Demers, S. Keshav, S. Shenker, Analysis and Simulation of a Fair Queueing
 *   Algorithm, SIGCOMM 1989; P. Goyal, H. M. Vin, H. Cheng, Start-time Fair
 *   Queueing, SIGCOMM 1996. In the kernel: bf0f6f24a1ec ("sched: cfs core, kernel/
 *   sched_fair.c"), and 147f3efaa241 ("sched/fair: Implement an EEVDF-like
 *   scheduling policy"), whose lag serves processors that can preempt. A device
 *   cannot: turns end where their holders say.
 *
 * Keys that a policy answers order lanes over the whole device: a share stands
 * among its siblings with the least key below it. The same holds for age.
 */
#include "device.h"
#include "group.h"
#include "lane.h"

/* No entity is further ahead than this: a bound on debts, and on differences. */
#define VRUNTIME_AHEAD_MAX	(1ULL << 47)
#define DEBT_LOOK_NS		((u64)NSEC_PER_SEC)

static struct llmos_share *share_of(struct llmos_entity *entity)
{
	return container_of(entity, struct llmos_share, entity);
}

static struct llmos_group_device *gd_of(struct llmos_share *share)
{
	return container_of(share, struct llmos_group_device, share);
}

/* ---- one order ---- */

/* Differences, not values, because vruntime wraps. */
static bool rank_before(struct rb_node *a, const struct rb_node *b)
{
	u64 left = rb_entry(a, struct llmos_rank, node)->key;
	u64 right = rb_entry(b, struct llmos_rank, node)->key;

	return (s64)(left - right) < 0;
}

static struct llmos_entity *first_in(struct llmos_share *share, enum llmos_order order)
{
	struct rb_node *node = rb_first_cached(&share->order[order]);

	return node ? container_of(node, struct llmos_entity, rank[order].node) : NULL;
}

static void rank_insert(struct llmos_entity *entity, enum llmos_order order, s64 key)
{
	entity->rank[order].key = key;
	rb_add_cached(&entity->rank[order].node, &entity->parent->order[order], rank_before);
}

static void rank_erase(struct llmos_entity *entity, enum llmos_order order)
{
	rb_erase_cached(&entity->rank[order].node, &entity->parent->order[order]);
	RB_CLEAR_NODE(&entity->rank[order].node);
}

static bool share_throttled(const struct llmos_share *share)
{
	return !RB_EMPTY_NODE(&share->throttled);
}

/* Does the share stand in that order of its parent, and where? */
static bool share_stands(struct llmos_share *share, enum llmos_order order, s64 *key)
{
	struct llmos_entity *first = first_in(share, order);

	if (!first || (order != LLMOS_RUNNING && share_throttled(share)))
		return false;
	if (order == LLMOS_BY_KEY || order == LLMOS_BY_AGE)
		*key = first->rank[order].key;
	else
		*key = share->entity.vruntime;
	return true;
}

/* ---- fairness ---- */

/* The least vruntime of those who want time; it only grows. */
static void share_advance(struct llmos_share *share)
{
	struct llmos_entity *waiting = first_in(share, LLMOS_BY_VRUNTIME);
	struct llmos_entity *running = first_in(share, LLMOS_RUNNING);
	struct llmos_entity *least = waiting ?: running;

	if (waiting && running && (s64)(running->vruntime - waiting->vruntime) < 0)
		least = running;
	if (least && (s64)(least->vruntime - share->vruntime_min) > 0)
		share->vruntime_min = least->vruntime;
}

static u64 weighted(u64 ns, u32 weight)
{
	return div_u64(ns * LLMOS_WEIGHT_DEFAULT, weight);
}

/* After a pause: credit of one slice at most. */
static void entity_place(struct llmos_entity *entity)
{
	u64 least;

	share_advance(entity->parent);
	least = entity->parent->vruntime_min -
		weighted(READ_ONCE(llmos_knobs.slice_ns), entity->weight);
	if ((s64)(entity->vruntime - least) < 0)
		entity->vruntime = least;
}

static bool entity_wants_time(const struct llmos_entity *entity)
{
	return llmos_ranked(entity, LLMOS_BY_VRUNTIME) || llmos_ranked(entity, LLMOS_RUNNING);
}

/*
 * Puts an entity into an order or takes it out, and its ancestors where that puts
 * them. Lanes go from one fair order to another by entering the new one first:
 * in neither, they have paused.
 */
void llmos_entity_rank(struct llmos_entity *entity, enum llmos_order order, bool in, s64 key)
{
	bool fair = order == LLMOS_BY_VRUNTIME || order == LLMOS_RUNNING;
	bool was;

	while (entity->parent) {
		was = llmos_ranked(entity, order);
		if (was && (!in || key != entity->rank[order].key)) {
			rank_erase(entity, order);
			was = false;
		}
		if (in && !was) {
			if (fair && !entity_wants_time(entity)) {
				entity_place(entity);
				key = entity->vruntime;
			}
			rank_insert(entity, order, key);
		}
		entity = &entity->parent->entity;
		key = 0;
		in = share_stands(share_of(entity), order, &key);
		if (entity->parent && in == llmos_ranked(entity, order) &&
		    (!in || key == entity->rank[order].key))
			break;
	}
}

static void entity_reorder(struct llmos_entity *entity, enum llmos_order order)
{
	if (llmos_ranked(entity, order)) {
		rank_erase(entity, order);
		rank_insert(entity, order, entity->vruntime);
	}
}

static void entity_advance(struct llmos_entity *entity, u64 ns)
{
	u64 limit = entity->parent->vruntime_min + VRUNTIME_AHEAD_MAX;

	entity->vruntime += weighted(ns, entity->weight);
	if ((s64)(entity->vruntime - limit) > 0)
		entity->vruntime = limit;
	entity_reorder(entity, LLMOS_BY_VRUNTIME);
	entity_reorder(entity, LLMOS_RUNNING);
	share_advance(entity->parent);
}

struct llmos_lane *llmos_share_first(struct llmos_share *share, enum llmos_order order)
{
	struct llmos_entity *entity;

	while ((entity = first_in(share, order)) && entity->is_share)
		share = share_of(entity);
	return entity ? llmos_lane_of(entity) : NULL;
}

/* ---- time.max ---- */

static bool refill_before(struct rb_node *a, const struct rb_node *b)
{
	return rb_entry(a, struct llmos_share, throttled)->refill_at_ns <
	       rb_entry(b, struct llmos_share, throttled)->refill_at_ns;
}

/* How many periods pay for what was used. */
static u64 share_debt_periods(const struct llmos_share *share)
{
	return share->quota_ns ? div64_u64(share->period_used_ns, share->quota_ns) : 0;
}

/*
 * Throttled groups cost the turns of others nothing until they have paid; but those
 * whose limit is lifted, and nobody says so, are looked at every so often.
 */
static void throttled_insert(struct llmos_share *share)
{
	u64 most = share->period_ns ? max(div64_u64(DEBT_LOOK_NS, share->period_ns), 1ULL) : 1;

	share->refill_at_ns = share->period_start_ns +
		clamp_t(u64, share_debt_periods(share), 1, most) * share->period_ns;
	rb_add_cached(&share->throttled, &share->lanes->throttled, refill_before);
}

static void throttled_erase(struct llmos_share *share)
{
	rb_erase_cached(&share->throttled, &share->lanes->throttled);
	RB_CLEAR_NODE(&share->throttled);
}

static struct llmos_share *throttled_first(struct llmos_lanes *lanes)
{
	struct rb_node *node = rb_first_cached(&lanes->throttled);

	return node ? rb_entry(node, struct llmos_share, throttled) : NULL;
}

static void share_refresh(struct llmos_share *share)
{
	enum llmos_order order;
	s64 key;
	bool in;

	for (order = 0; order < LLMOS_RUNNING; order++) {
		key = 0;
		in = share_stands(share, order, &key);
		llmos_entity_rank(&share->entity, order, in, key);
	}
}

static void share_throttle(struct llmos_share *share, u64 now)
{
	share->throttled_at_ns = now;
	throttled_insert(share);
	atomic64_inc(&gd_of(share)->time_throttled);
	share_refresh(share);
}

static void share_unthrottle(struct llmos_share *share, u64 now)
{
	throttled_erase(share);
	atomic64_add(now - share->throttled_at_ns, &gd_of(share)->time_throttled_ns);
	share_refresh(share);
}

/* Begins the period that @now is in. What was used beyond the quota stays used. */
static void share_refill(struct llmos_share *share, u64 now)
{
	u64 periods, debt, paid;

	if (READ_ONCE(gd_of(share)->time_quota_us) == U64_MAX) {	/* lifted: no cgroup */
		share->quota_ns = 0;
		share->period_used_ns = 0;
		return;
	}
	if (now < share->period_start_ns + share->period_ns)
		return;
	periods = div64_u64(now - share->period_start_ns, share->period_ns);
	share->period_start_ns += periods * share->period_ns;
	debt = share_debt_periods(share);
	if (share->period_used_ns)
		atomic64_add(clamp_t(u64, debt, 1, periods), &gd_of(share)->time_periods);
	paid = periods > debt ? share->period_used_ns : periods * share->quota_ns;
	share->period_used_ns -= paid;
}

static bool share_spent(const struct llmos_share *share)
{
	return share->quota_ns && share->period_used_ns >= share->quota_ns;
}

static void share_use_quota(struct llmos_share *share, u64 used_ns, u64 now)
{
	if (!share->quota_ns)
		return;
	share_refill(share, now);
	share->period_used_ns += used_ns;
	if (share_spent(share) && !share_throttled(share))
		share_throttle(share, now);
}

bool llmos_entity_throttled(const struct llmos_entity *entity)
{
	const struct llmos_share *share;

	for (share = entity->parent; share; share = share->entity.parent)
		if (share_throttled(share))
			return true;
	return false;
}

/* Shares whose period has come get their turns back. */
u64 llmos_shares_refill(struct llmos_lanes *lanes, u64 now)
{
	struct llmos_share *share;

	while ((share = throttled_first(lanes)) && share->refill_at_ns <= now) {
		share_refill(share, now);
		if (share_spent(share)) {
			throttled_erase(share);
			throttled_insert(share);
		} else {
			share_unthrottle(share, now);
		}
	}
	return share ? share->refill_at_ns : U64_MAX;
}

/* ---- what is used ---- */

void llmos_entity_charge(struct llmos_entity *entity, u64 used_ns, u64 penalty_ns, u64 now)
{
	struct llmos_share *share;

	for (; entity->parent; entity = &entity->parent->entity) {
		entity_advance(entity, used_ns + penalty_ns);
		if (!entity->is_share)
			continue;
		share = share_of(entity);
		atomic64_add(used_ns, &gd_of(share)->time_usage_ns);
		share_use_quota(share, used_ns, now);
	}
}

/* ---- set-up ---- */

void llmos_entity_init(struct llmos_entity *entity, struct llmos_share *parent, u32 weight)
{
	enum llmos_order order;

	entity->parent = parent;
	entity->weight = weight;
	entity->vruntime = parent ? parent->vruntime_min : 0;
	for (order = 0; order < LLMOS_ORDERS; order++)
		RB_CLEAR_NODE(&entity->rank[order].node);
}

void llmos_share_setup(struct llmos_share *share, struct llmos_lanes *lanes,
		       struct llmos_share *parent)
{
	enum llmos_order order;

	llmos_entity_init(&share->entity, parent, LLMOS_WEIGHT_DEFAULT);
	share->entity.is_share = true;
	share->lanes = lanes;
	share->depth = parent ? parent->depth + 1 : 0;
	RB_CLEAR_NODE(&share->throttled);
	for (order = 0; order < LLMOS_ORDERS; order++)
		share->order[order] = RB_ROOT_CACHED;
}

static void share_set_max(struct llmos_share *share, u64 quota_us, u64 period_us, u64 now)
{
	bool limited = quota_us != U64_MAX && period_us;
	u64 quota_ns = limited ? quota_us * NSEC_PER_USEC : 0;
	u64 period_ns = limited ? period_us * NSEC_PER_USEC : 0;

	if (quota_ns == share->quota_ns && period_ns == share->period_ns)
		return;
	share->quota_ns = quota_ns;
	share->period_ns = period_ns;
	share->period_start_ns = now;
	if (!limited)
		share->period_used_ns = 0;
	if (!share_throttled(share))
		return;
	throttled_erase(share);
	throttled_insert(share);
	if (!share_spent(share))
		share_unthrottle(share, now);
}

static void share_configure(struct llmos_group_device *gd, u64 now)
{
	gd->share.entity.weight = clamp_t(u32, llmos_group_weight(gd), LLMOS_WEIGHT_MIN,
					  LLMOS_WEIGHT_MAX);
	share_set_max(&gd->share, READ_ONCE(gd->time_quota_us), READ_ONCE(gd->time_period_us), now);
}

void llmos_share_init(struct llmos_group_device *gd)
{
	struct llmos_lanes *lanes = &gd->device->lanes;

	spin_lock_bh(&lanes->lock);
	llmos_share_setup(&gd->share, lanes, gd->parent ? &gd->parent->share : &lanes->root);
	share_configure(gd, ktime_get_ns());
	spin_unlock_bh(&lanes->lock);
}

/* The place of a share that waits is by its vruntime, which its weight only bends. */
void llmos_share_changed(struct llmos_group_device *gd)
{
	struct llmos_lanes *lanes = &gd->device->lanes;
	u64 now;

	spin_lock_bh(&lanes->lock);
	now = ktime_get_ns();
	share_configure(gd, now);
	llmos_turns_give(lanes, now);
	spin_unlock_bh(&lanes->lock);
}

void llmos_share_exit(struct llmos_group_device *gd)
{
	struct llmos_lanes *lanes = &gd->device->lanes;

	spin_lock_bh(&lanes->lock);
	if (share_throttled(&gd->share))
		throttled_erase(&gd->share);
	WARN_ON_ONCE(entity_wants_time(&gd->share.entity));
	spin_unlock_bh(&lanes->lock);
}
