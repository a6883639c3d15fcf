// SPDX-License-Identifier: GPL-2.0-only
/*
 * A group's fair part of the models. A model is in memory once, and charged once
 * (memory.c); what it takes is shown split evenly among the cgroups that have it
 * open, so that the figures of all groups add up to what is there.
 */
#include <linux/cgroup.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/sort.h>

#include "llmos.h"

/* A cgroup that has the model open; only compared, its reference is the grant's. */
struct user {
	const struct cgroup *cgroup;
	bool inside;
};

static int user_compare(const void *a, const void *b)
{
	const struct user *x = a, *y = b;

	return x->cgroup < y->cgroup ? -1 : x->cgroup > y->cgroup;
}

/* One for each grant, at most @count; returns how many there are. */
static size_t users_collect(struct llmos_model *model, struct cgroup *cgroup, struct user *users,
			    size_t count)
{
	struct llmos_grant_entry *grant;
	size_t n = 0;

	spin_lock(&model->lock);
	list_for_each_entry(grant, &model->grants, node) {
		if (grant->revoked)
			continue;
		if (n < count)
			users[n] = (struct user) {
				.cgroup = grant->cgroup,
				.inside = cgroup_is_descendant(grant->cgroup, cgroup),
			};
		n++;
	}
	spin_unlock(&model->lock);
	return n;
}

static u64 users_part(struct user *users, size_t count, u64 bytes)
{
	u64 all = 0, inside = 0;
	size_t i;

	sort(users, count, sizeof(*users), user_compare, NULL);
	for (i = 0; i < count; i++) {
		if (i && users[i].cgroup == users[i - 1].cgroup)
			continue;
		all++;
		inside += users[i].inside;
	}
	return all ? mul_u64_u64_div_u64(bytes, inside, all) : 0;
}

/* Opens that come between the two walks are left out. */
static int model_part(struct llmos_model *model, struct cgroup *cgroup, u64 *bytes)
{
	size_t count = users_collect(model, cgroup, NULL, 0);
	struct user *users;

	if (!count)
		return 0;
	users = kvmalloc_array(count, sizeof(*users), GFP_KERNEL);
	if (!users)
		return -ENOMEM;
	count = min(count, users_collect(model, cgroup, users, count));
	*bytes += users_part(users, count, READ_ONCE(model->resident));
	kvfree(users);
	return 0;
}

static struct llmos_model *model_next(u32 *id)
{
	struct llmos_model *model;

	spin_lock(&llmos_names_lock);
	model = llmos_model_next(id);
	if (model)
		llmos_model_hold(model);
	spin_unlock(&llmos_names_lock);
	return model;
}

int llmos_models_of_group(struct cgroup *cgroup, u64 *bytes)
{
	struct llmos_model *model;
	int ret = 0;
	u32 id;

	*bytes = 0;
	for (id = 1; !ret && (model = model_next(&id)); id++) {
		ret = model_part(model, cgroup, bytes);
		llmos_model_put(model);
	}
	return ret;
}
