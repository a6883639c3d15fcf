// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dropping the memory of idle models: lowest priority first, then the least
 * recently used. Called from reclaim and from the OOM killer too, so this takes
 * only spinlocks and allocates nothing, and leaves the names alone: an evicted
 * model keeps its name, and says ESTALE when it is opened.
 */
#include <linux/mm.h>
#include <linux/mount.h>
#include <linux/oom.h>
#include <linux/shrinker.h>

#include "hook.h"
#include "llmos.h"

#define SHRINK_SEEKS 8	/* models cost more to bring back than most caches */

static struct shrinker *shrinker;
static atomic64_t shrink_debt;	/* pages that reclaim asked for since the last eviction */

/*
 * The order of eviction; unique. A policy's score comes first; 0 is what the models
 * have that it had no opinion of.
 */
struct evict_key {
	s64 score;
	s32 priority;
	u64 idle_since;
	u32 id;
};

/* Under the model's lock, and that of the names. */
static s64 evict_score(const struct llmos_model *model)
{
	struct llmos_model_ctx ctx = {
		.model = model->id,
		.bytes = model->resident,
		.now_ns = ktime_get_ns(),
		.priority = model->priority,
		.flags = model->flags,
	};

	ctx.idle_ns = ctx.now_ns - min(model->idle_since, ctx.now_ns);
	memcpy(ctx.name, model->name, sizeof(ctx.name));
	return llmos_ask_evict_score(&ctx);
}

static struct evict_key evict_key_of(const struct llmos_model *model)
{
	return (struct evict_key) {
		.score = evict_score(model),
		.priority = model->priority,
		.idle_since = model->idle_since,
		.id = model->id,
	};
}

static bool evict_before(const struct evict_key *a, const struct evict_key *b)
{
	if (a->score != b->score)
		return a->score < b->score;
	if (a->priority != b->priority)
		return a->priority < b->priority;
	if (a->idle_since != b->idle_since)
		return a->idle_since < b->idle_since;
	return a->id < b->id;
}

static bool evict_idle(const struct llmos_model *model)
{
	return model->state == LLMOS_STATE_SEALED && !model->users;
}

/* Keeps an idle model idle while its pages are dropped. */
static bool claim_if(struct llmos_model *model, bool eligible)
{
	lockdep_assert_held(&model->lock);
	if (eligible)
		model->users++;
	return eligible;
}

/* Unlike llmos_model_unuse(), leaves the time of last use alone. */
static void claim_undo(struct llmos_model *model)
{
	spin_lock(&model->lock);
	model->users--;
	spin_unlock(&model->lock);
}

static bool evict_offered(const struct llmos_model *model)
{
	return evict_idle(model) && (model->flags & LLMOS_MODEL_EVICTABLE);
}

/* Claims a model that comes after @after and before the best so far, whose key it sets then. */
static bool evict_claim_better(struct llmos_model *model, const struct evict_key *after,
			       struct evict_key *best, bool have_best)
{
	struct evict_key key;
	bool better = false;

	spin_lock(&model->lock);
	if (evict_offered(model)) {
		key = evict_key_of(model);
		better = (!after || evict_before(after, &key)) &&
			 (!have_best || evict_before(&key, best));
	}
	if (claim_if(model, better))
		*best = key;
	spin_unlock(&model->lock);
	return better;
}

/* The first in order after @after, claimed, with a reference; @after becomes its key. */
static struct llmos_model *evict_next(struct evict_key *after, bool first)
{
	struct llmos_model *model, *best = NULL;
	struct evict_key best_key;
	u32 id;

	spin_lock(&llmos_names_lock);
	for (id = 0; (model = llmos_model_next(&id)); id++) {
		if (!evict_claim_better(model, first ? NULL : after, &best_key, best))
			continue;
		if (best)
			claim_undo(best);
		best = model;
	}
	if (best) {
		llmos_model_hold(best);
		*after = best_key;
	}
	spin_unlock(&llmos_names_lock);
	return best;
}

/* Drops the pages of a claimed model, unless somebody came to use them. */
static u64 evict_drop(struct llmos_model *model)
{
	u64 bytes = model->resident;

	/* Who reclaims memory may have locked some of it, and must not wait for itself. */
	if (llmos_pages_pinned(model) || llmos_pages_locked(model))
		return 0;
	spin_lock(&model->lock);
	if (model->users == 1)
		WRITE_ONCE(model->state, LLMOS_STATE_EVICTED);
	else
		bytes = 0;
	spin_unlock(&model->lock);
	if (!bytes)
		return 0;
	llmos_pages_free(model);
	llmos_event(LLMOS_EVENT_EVICT, model, bytes, 0);
	return bytes;
}

u64 llmos_evict_idle(void)
{
	struct llmos_model *model;
	unsigned int tries = llmos_model_count();	/* a policy may score anew each time */
	struct evict_key after;
	bool first = true;
	u64 bytes = 0;

	while (!bytes && tries-- && (model = evict_next(&after, first))) {
		bytes = evict_drop(model);
		claim_undo(model);
		llmos_model_put(model);
		first = false;
	}
	return bytes;
}

/* Named, sealed and idle: claimed. Evicted already: 1. */
static int evict_claim_model(struct llmos_model *model)
{
	int ret = 0;

	spin_lock(&llmos_names_lock);
	spin_lock(&model->lock);
	if (!model->named)
		ret = -ENOENT;
	else if (model->state == LLMOS_STATE_EVICTED)
		ret = 1;
	else if (!claim_if(model, evict_idle(model)))
		ret = -EBUSY;
	spin_unlock(&model->lock);
	spin_unlock(&llmos_names_lock);
	return ret;
}

int llmos_evict_model(struct llmos_model *model)
{
	int ret = evict_claim_model(model);

	if (ret)
		return min(ret, 0);
	if (!evict_drop(model))
		ret = -EBUSY;
	claim_undo(model);
	return ret;
}

u64 llmos_evict_possible(void)
{
	struct llmos_model *model;
	u64 bytes = 0;
	u32 id;

	spin_lock(&llmos_names_lock);
	for (id = 0; (model = llmos_model_next(&id)); id++) {
		spin_lock(&model->lock);
		if (evict_offered(model))
			bytes += model->resident;
		spin_unlock(&model->lock);
	}
	spin_unlock(&llmos_names_lock);
	return bytes;
}

/* ---- pressure ---- */

/* Models may be small: as many as it takes. */
static u64 evict_at_least(u64 wanted)
{
	u64 bytes = 0, one;

	while (bytes < wanted && (one = llmos_evict_idle()))
		bytes += one;
	return bytes;
}

static unsigned long shrink_count(struct shrinker *s, struct shrink_control *sc)
{
	return llmos_evict_possible() >> PAGE_SHIFT;
}

/*
 * Reclaim asks for some hundred pages at a time; a model is gigabytes. The next go
 * once the wishes add up to half of what is idle.
 */
static unsigned long shrink_scan(struct shrinker *s, struct shrink_control *sc)
{
	s64 half = llmos_evict_possible() >> PAGE_SHIFT >> 1;
	u64 pages;

	if (atomic64_add_return(sc->nr_to_scan, &shrink_debt) < half)
		return SHRINK_STOP;
	atomic64_set(&shrink_debt, 0);
	pages = evict_at_least((u64)sc->nr_to_scan << PAGE_SHIFT) >> PAGE_SHIFT;
	sc->nr_scanned = pages;
	return pages ?: SHRINK_STOP;
}

/* A few pages are gone at once: no reason to spare whom the kernel would kill. */
static int oom_notify(struct notifier_block *nb, unsigned long unused, void *freed)
{
	u64 bytes = evict_at_least((u64)totalram_pages() << PAGE_SHIFT >> 10);

	if (bytes >= HPAGE_PMD_SIZE)
		*(unsigned long *)freed += bytes >> PAGE_SHIFT;
	return NOTIFY_OK;
}

static struct notifier_block oom_notifier = {
	.notifier_call = oom_notify,
};

int llmos_evict_init(void)
{
	int ret;

	shrinker = shrinker_alloc(0, "llmos-models");
	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = shrink_count;
	shrinker->scan_objects = shrink_scan;
	shrinker->seeks = SHRINK_SEEKS;
	ret = register_oom_notifier(&oom_notifier);
	if (ret) {
		shrinker_free(shrinker);
		return ret;
	}
	shrinker_register(shrinker);
	return 0;
}

void llmos_evict_exit(void)
{
	unregister_oom_notifier(&oom_notifier);
	shrinker_free(shrinker);
}
