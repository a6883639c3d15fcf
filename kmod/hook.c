// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hooks: where a policy is asked, and what is made of its answer.
 *
 * A hook is an empty function that an fmod_ret program can answer for. 0 is no
 * opinion: then the caller's default holds. Answers are never trusted.
 *
 * The kernel skips such a program, silently, while another run of it is under way
 * on the same CPU. So atomic hooks are called with preemption off, and the one
 * that may sleep under a mutex: nobody else can be in between.
 */
#include <linux/bpf.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/cgroup.h>
#include <linux/cred.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/sysfs.h>

#include "hook.h"
#include "llmos.h"

/* Differences of keys, and of scores, must not overflow. */
#define KEY_MAX		(S64_MAX / 4)
#define SLICE_MIN_NS	(100 * NSEC_PER_USEC)
#define SLICE_MAX_NS	(10 * NSEC_PER_SEC)

enum hook {
	HOOK_LANE_KEY,
	HOOK_LANE_SLICE,
	HOOK_EVICT_SCORE,
	HOOK_ADMIT,
	HOOKS
};

enum hook_count { HOOK_ANSWERED, HOOK_DEFAULT, HOOK_REFUSED, HOOK_COUNTS };

static DEFINE_PER_CPU(u64, hook_counts[HOOKS][HOOK_COUNTS]);
static DEFINE_MUTEX(admit_mutex);
static struct kobject *hooks_kobj;
static bool available;

/* ---- what programs are attached to ---- */

__bpf_hook_start();

__weak noinline s64 llmos_hook_lane_key(struct llmos_lane_ctx *ctx)
{
	return 0;
}

__weak noinline s64 llmos_hook_lane_slice(struct llmos_lane_ctx *ctx)
{
	return 0;
}

__weak noinline s64 llmos_hook_evict_score(struct llmos_model_ctx *ctx)
{
	return 0;
}

__weak noinline s64 llmos_hook_admit(struct llmos_admit_ctx *ctx)
{
	return 0;
}

__bpf_hook_end();

BTF_KFUNCS_START(llmos_hook_ids)
BTF_ID_FLAGS(func, llmos_hook_lane_key)
BTF_ID_FLAGS(func, llmos_hook_lane_slice)
BTF_ID_FLAGS(func, llmos_hook_evict_score)
BTF_ID_FLAGS(func, llmos_hook_admit, KF_SLEEPABLE)
BTF_KFUNCS_END(llmos_hook_ids)

static const struct btf_kfunc_id_set llmos_hook_set = {
	.owner = THIS_MODULE,
	.set = &llmos_hook_ids,
};

/* ---- answers ---- */

static void count(enum hook hook, enum hook_count what)
{
	this_cpu_inc(hook_counts[hook][what]);
}

/* Within [min, max], or brought there; 0 stays 0. */
static s64 bounded(enum hook hook, s64 answer, s64 min, s64 max)
{
	s64 used = answer ? clamp(answer, min, max) : 0;

	count(hook, !answer ? HOOK_DEFAULT : used == answer ? HOOK_ANSWERED : HOOK_REFUSED);
	return used;
}

s64 llmos_ask_lane_key(struct llmos_lane_ctx *ctx)
{
	s64 answer;

	preempt_disable();
	answer = llmos_hook_lane_key(ctx);
	preempt_enable();
	return bounded(HOOK_LANE_KEY, answer, -KEY_MAX, KEY_MAX);
}

u64 llmos_ask_lane_slice(struct llmos_lane_ctx *ctx)
{
	s64 answer;

	preempt_disable();
	answer = llmos_hook_lane_slice(ctx);
	preempt_enable();
	return bounded(HOOK_LANE_SLICE, answer, SLICE_MIN_NS, SLICE_MAX_NS) ?: ctx->slice_ns;
}

s64 llmos_ask_evict_score(struct llmos_model_ctx *ctx)
{
	s64 answer;

	preempt_disable();
	answer = llmos_hook_evict_score(ctx);
	preempt_enable();
	return bounded(HOOK_EVICT_SCORE, answer, -KEY_MAX, KEY_MAX);
}

/* A positive answer admits, a negative one is the errno to refuse with. */
int llmos_ask_admit(struct llmos_admit_ctx *ctx)
{
	s64 answer;

	ctx->cgroup = llmos_current_cgroup();
	ctx->group = cgroup_id(ctx->cgroup);
	ctx->task = current;
	ctx->uid = from_kuid(&init_user_ns, current_fsuid());
	if (mutex_lock_killable(&admit_mutex)) {
		answer = -EINTR;
	} else {
		answer = llmos_hook_admit(ctx);
		mutex_unlock(&admit_mutex);
		/* No errno: no opinion, whatever was meant. */
		count(HOOK_ADMIT, !answer ? HOOK_DEFAULT :
				  answer < -MAX_ERRNO ? HOOK_REFUSED : HOOK_ANSWERED);
	}
	cgroup_put(ctx->cgroup);
	return answer < 0 && answer >= -MAX_ERRNO ? answer : 0;
}

/* ---- /sys/fs/llmos/hooks ---- */

static u64 counted(enum hook hook, enum hook_count what)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += per_cpu(hook_counts[hook][what], cpu);
	return sum;
}

static ssize_t hook_show(enum hook hook, char *buf)
{
	return sysfs_emit(buf, "answered %llu\ndefault %llu\nrefused %llu\n",
			  counted(hook, HOOK_ANSWERED), counted(hook, HOOK_DEFAULT),
			  counted(hook, HOOK_REFUSED));
}

#define HOOK_ATTR(name, hook)								\
	static ssize_t name##_show(struct kobject *kobj, struct kobj_attribute *attr,	\
				   char *buf)						\
	{										\
		return hook_show(hook, buf);						\
	}										\
	static struct kobj_attribute name##_attr = __ATTR_RO(name)

HOOK_ATTR(lane_key, HOOK_LANE_KEY);
HOOK_ATTR(lane_slice, HOOK_LANE_SLICE);
HOOK_ATTR(evict_score, HOOK_EVICT_SCORE);
HOOK_ATTR(admit, HOOK_ADMIT);

static ssize_t available_show(struct kobject *kobj, struct kobj_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", available);
}

static struct kobj_attribute available_attr = __ATTR_RO(available);

static const struct attribute *hook_attrs[] = {
	&available_attr.attr,
	&lane_key_attr.attr,
	&lane_slice_attr.attr,
	&evict_score_attr.attr,
	&admit_attr.attr,
	NULL,
};

/* ---- set-up ---- */

bool llmos_hooks_available(void)
{
	return available;
}

/* A module built where the kernel's BTF was not at hand has none of its own. */
static bool have_btf(void)
{
#ifdef CONFIG_DEBUG_INFO_BTF_MODULES
	return THIS_MODULE->btf_data_size > 0;
#else
	return false;
#endif
}

int llmos_hook_init(void)
{
	int ret;

	available = have_btf() && !register_btf_fmodret_id_set(&llmos_hook_set);
	if (!available)
		pr_info("no BTF for this module: policies cannot be attached, defaults are used\n");
	hooks_kobj = kobject_create_and_add("hooks", llmos_kobj);
	if (!hooks_kobj)
		return -ENOMEM;
	ret = sysfs_create_files(hooks_kobj, hook_attrs);
	if (ret)
		kobject_put(hooks_kobj);
	return ret;
}

/* Programs that are attached hold the module: there are none. */
void llmos_hook_exit(void)
{
	sysfs_remove_files(hooks_kobj, hook_attrs);
	kobject_put(hooks_kobj);
}
