// SPDX-License-Identifier: GPL-2.0-only
/*
 * A group's fair part of the models. A model is in memory once, and charged once
 * (memory.c); what it takes is shown split evenly among the cgroups that have it
 * open, so that the figures of all groups add up to what is there.
 */
#include <linux/cgroup.h>
#include <linux/math64.h>
#include <linux/sched.h>

#include "llmos.h"

#define WALK_CHUNK	1024

static u64 model_part(struct llmos_model *model, struct cgroup *cgroup)
{
	u64 all = 0, inside = 0;
	struct llmos_user *user;
	unsigned long id, from = 0;
	unsigned int visited;

	do {
		visited = 0;
		spin_lock(&model->lock);
		xa_for_each_start(&model->users_of, id, user, from) {
			all += !!user->granted;
			inside += user->granted && cgroup_is_descendant(user->cgroup, cgroup);
			from = id + 1;
			if (++visited == WALK_CHUNK)
				break;
		}
		spin_unlock(&model->lock);
		cond_resched();
	} while (visited == WALK_CHUNK);
	return all ? mul_u64_u64_div_u64(READ_ONCE(model->resident), inside, all) : 0;
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

u64 llmos_models_of_group(struct cgroup *cgroup)
{
	struct llmos_model *model;
	u64 bytes = 0;
	u32 id;

	for (id = 1; (model = model_next(&id)); id++) {
		bytes += model_part(model, cgroup);
		llmos_model_put(model);
	}
	return bytes;
}
